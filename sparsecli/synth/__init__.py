"""Parameters to sound: modes, noise bursts, the air."""
