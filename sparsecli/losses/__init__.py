"""How unlike two signals are: tensors to unreduced, differentiable values. No model or renderer is known here."""
