"""The Sparse Interpretable Audio Model: what it knows of events, as two small networks.

One, the *eye*, looks at the band around a peak of the spectrum and says what kind of strike made it. The other, the
*voice*, turns the sixteen numbers of an event into a strike and back: a map that can be inverted exactly, under which
the strikes of music are spread like normal random numbers. All that can be solved is solved outside: amplitudes,
phases and further modes by projection (`engine/siam.py`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor, nn

from ..core.columns import MIN_ATTACK_S, MODES_PER_ATOM, SILENT_DB

VECTOR = 16  # numbers of an event beside its onset and its gain
LOOKS_AT = 256  # points of a band
SHAPE_NUMBERS = 5  # what the eye says of a peak: onset, attack, decay, offset in frequency, and whether it is an event


@dataclass(frozen=True)
class SiamShape:
    """Sizes of the networks and the scales on which they look.

    Attributes:
        sample_rate: of the sound that is looked at, in Hz.
        scales: lengths L of the windows that find peaks, in samples, multiples of 64; a band spans 4 L.
        width: channels of the eye.
        depth: residual blocks of each of its stages.
        voice_width: units of each layer of the voice.
        voice_depth: its coupling layers.
    """

    sample_rate: int = 22_050
    scales: tuple[int, ...] = (256, 1024, 4096, 16_384)
    width: int = 48
    depth: int = 1
    voice_width: int = 48
    voice_depth: int = 6

    def __post_init__(self) -> None:
        for name, low, high in _SIZES:
            if not isinstance(getattr(self, name), int) or not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)!r}; an integer from {low} to {high} is needed")
        if not self.scales or any(not isinstance(scale, int) or not _is_scale(scale) for scale in self.scales):
            raise ValueError(f"scales are {self.scales!r}; multiples of 64 from 64 to 65536 are needed")

    def to_json(self) -> dict[str, object]:
        """The sizes as they stand in a file."""
        return {**asdict(self), "scales": list(self.scales)}

    @staticmethod
    def from_json(sizes: object) -> SiamShape:
        """Sizes from a file. Raises ValueError where they are not sizes."""
        known = {field.name for field in fields(SiamShape)}
        if not isinstance(sizes, dict) or set(sizes) != known or not isinstance(sizes["scales"], list):
            raise ValueError(f"sizes are needed: {', '.join(sorted(known))}")
        return SiamShape(**{**sizes, "scales": tuple(sizes["scales"])})


_SIZES = (("sample_rate", 1000, 384_000), ("width", 1, 1024), ("depth", 0, 64), ("voice_width", 1, 1024),
          ("voice_depth", 0, 64))  # fmt: skip


def _is_scale(scale: int) -> bool:
    return 64 <= scale <= 65_536 and scale % 64 == 0


@dataclass(frozen=True)
class Strikes:
    """E strikes relative to their onsets and gains: M = 4 tones with one attack and decay, and a burst of noise.

    Attributes:
        attack_s: float64 `[E]`, of tones and noise.
        decay_s: `[E]`, T60 of the tones.
        freq_hz: `[E, 4]`, the loudest first.
        level_db: `[E, 4]`, audible peak against the gain, falling from 0; -200 where there is no tone.
        phase_rad: `[E, 4]`, at the onset, in [0, 2 pi).
        noise_level_db: `[E]`, against the gain; -200: none.
        noise_hz: `[E]`, centre of its band.
        noise_decay_s: `[E]`, its own T60.
    """

    attack_s: Tensor
    decay_s: Tensor
    freq_hz: Tensor
    level_db: Tensor
    phase_rad: Tensor
    noise_level_db: Tensor
    noise_hz: Tensor
    noise_decay_s: Tensor


# The plain coordinates of a strike, each near mean 0 and deviation 1 over music, and how far they may go:
#   0 ln attack, 1 ln decay, 2 ln freq1, 3-5 ln freq m / freq1, 6-8 ln of how far level m falls under level m - 1,
#   9-12 normal quantiles of the phases' shares of a turn, 13 level of the noise, 14 ln noise_hz, 15 ln noise decay.
MEAN = (math.log(0.01), math.log(1.2), math.log(600.0), 0.4, 0.5, 0.6, 1.2, 1.0, 0.9, *([0.0] * 4), -40.0,
        math.log(1500.0), math.log(0.4))  # fmt: skip
SPREAD = (1.4, 1.3, 0.9, 0.9, 0.9, 0.9, 1.0, 1.0, 1.0, *([1.0] * 4), 25.0, 0.8, 1.2)
LOWEST = (math.log(MIN_ATTACK_S), math.log(2e-3), math.log(15.0), *([-7.5] * 3), *([-3.0] * 3), *([-5.0] * 4), -130.0,
          math.log(30.0), math.log(2e-3))  # fmt: skip
HIGHEST = (math.log(5.0), math.log(120.0), math.log(190e3), *([7.5] * 3), *([4.6] * 3), *([5.0] * 4), 30.0,
           math.log(190e3), math.log(120.0))  # fmt: skip
FALL_FLOOR_DB = 0.05  # added to how far a level falls, so that it has a logarithm
FAINTEST_DB = -80.0  # against the gain: a tone or noise below is none
NO_NOISE_DB = -120.0  # what stands for no noise among the coordinates


def coordinates_of(strikes: Strikes) -> Tensor:
    """The plain coordinates `[E, 16]` of strikes, float64, within what `strikes_of` can turn back."""
    first_hz = strikes.freq_hz[:, :1].clamp(min=1.0)
    used = strikes.level_db > FAINTEST_DB
    level_db = torch.where(used, strikes.level_db, FAINTEST_DB - 20.0).clamp(max=0.0)
    fall_db = (level_db[:, :-1] - level_db[:, 1:]).clamp(min=0.0)
    share = torch.remainder(strikes.phase_rad / (2 * math.pi), 1.0)
    phase = math.sqrt(2) * torch.erfinv((2 * share - 1).clamp(-1 + 1e-6, 1 - 1e-6))
    ratios = torch.where(used, strikes.freq_hz.clamp(min=1.0), first_hz)[:, 1:] / first_hz
    noisy = strikes.noise_level_db > FAINTEST_DB
    plain = torch.cat(
        [
            strikes.attack_s.clamp(min=1e-5).log()[:, None],
            strikes.decay_s.clamp(min=1e-5).log()[:, None],
            first_hz.log(),
            ratios.log(),
            (fall_db + FALL_FLOOR_DB).log(),
            torch.where(used, phase, 0.0),
            torch.where(noisy, strikes.noise_level_db, NO_NOISE_DB)[:, None],
            torch.where(noisy, strikes.noise_hz, math.exp(MEAN[14])).clamp(min=1.0).log()[:, None],
            torch.where(noisy, strikes.noise_decay_s, math.exp(MEAN[15])).clamp(min=1e-5).log()[:, None],
        ],
        dim=1,
    )
    low, high, mean, spread = (_row(values, plain) for values in (LOWEST, HIGHEST, MEAN, SPREAD))
    return (torch.minimum(torch.maximum(plain, low), high) - mean) / spread


def strikes_of(coordinates: Tensor) -> Strikes:
    """The strikes of plain coordinates `[E, 16]`, whatever these are."""
    low, high, mean, spread = (_row(values, coordinates) for values in (LOWEST, HIGHEST, MEAN, SPREAD))
    plain = torch.minimum(torch.maximum(coordinates * spread + mean, low), high)
    fall_db = (plain[:, 6:9].exp() - FALL_FLOOR_DB).clamp(min=0.0)
    level_db = torch.nn.functional.pad(-fall_db.cumsum(1), (1, 0))
    used = level_db > FAINTEST_DB
    freq_hz = (plain[:, 2:3] + torch.nn.functional.pad(plain[:, 3:6], (1, 0))).exp()
    noisy = plain[:, 13] > FAINTEST_DB
    return Strikes(
        attack_s=plain[:, 0].exp().clamp(min=MIN_ATTACK_S),  # which rounding may miss
        decay_s=plain[:, 1].exp(),
        freq_hz=torch.where(used, freq_hz, 0.0),
        level_db=torch.where(used, level_db, SILENT_DB),
        phase_rad=torch.where(used, math.pi * (1 + torch.erf(plain[:, 9:13] / math.sqrt(2))), 0.0),
        noise_level_db=torch.where(noisy, plain[:, 13], SILENT_DB),
        noise_hz=plain[:, 14].exp(),
        noise_decay_s=plain[:, 15].exp(),
    )


def _row(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


class Siam(nn.Module):
    """The model. Chance weights make a plain one: an eye that always answers the same, a voice of plain coordinates.

    Args:
        shape: its sizes.
    """

    def __init__(self, shape: SiamShape | None = None) -> None:
        super().__init__()
        self.shape = shape or SiamShape()
        self.eye = Eye(self.shape)
        self.voice = Voice(self.shape)

    def decode(self, vectors: Tensor) -> Strikes:
        """The strikes of vectors `[E, 16]`, relative to onsets and gains, in float64."""
        return strikes_of(self.voice.inverse(vectors.double()))

    def encode(self, strikes: Strikes) -> Tensor:
        """The vectors `[E, 16]` of strikes, float64; `decode` gives the strikes back."""
        vectors, _ = self.voice.forward(coordinates_of(strikes))
        return vectors


# What the eye says unless it has learned otherwise, relative to the length L of the window: the onset half of it before
# the middle, an attack of L / 20, a decay 1/d of L / 2, no offset in frequency, an event as likely as not.
PLAIN_SHAPE = (-0.5, math.log(0.05), math.log(0.5), 0.0, 0.0)
REACH = (2.0, 5.0, 5.0, 6.0, 12.0)  # how far it may go from there


class Eye(nn.Module):
    """From the band around a peak to the strike that made it.

    Residual convolutions along time, on the band mixed down to the peak's frequency and turned to its phase there, so
    that frequency and phase are relative to the spectrum's at the peak; lengths are in units of the window's, so that
    one network looks on all scales.
    """

    def __init__(self, shape: SiamShape) -> None:
        super().__init__()
        width = shape.width
        self.stem = nn.Conv1d(4, width, 8, stride=4, padding=2)
        stages = [(width, width), (width, 2 * width), (2 * width, 2 * width)]
        self.stages = nn.ModuleList(_Stage(before, after, shape.depth) for before, after in stages)
        self.extra = nn.Linear(2, 2 * width)
        self.hidden = nn.Linear(2 * width * (LOOKS_AT // 32), 2 * width)
        self.head = nn.Linear(2 * width, SHAPE_NUMBERS)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, bands: Tensor, extra: Tensor) -> Tensor:
        """What made the peaks, relative to their windows.

        Args:
            bands: complex64 `[K, 256]`, of amplitude near 1 at the peak.
            extra: float `[K, 2]`, the logarithms of L and of the cycles in L, near -1 to 1.

        Returns:
            `[K, 5]`: onset from the middle in L, ln attack / L, ln 1/d / L, radians in L, logit of an event.
        """
        size = bands.abs().clamp(min=1e-6)
        features = torch.stack([bands.real, bands.imag, size, size.log() / 4], dim=1)
        features = features.clamp(-8.0, 8.0).to(self.head.weight.dtype)
        x = self.stem(features)
        for stage in self.stages:
            x = stage(x)
        x = torch.relu(self.hidden(x.flatten(1)) + self.extra(extra.to(x.dtype)))
        reach, plain = (_row(values, x) for values in (REACH, PLAIN_SHAPE))
        return plain + reach * torch.tanh(self.head(x) / reach)


class _Stage(nn.Module):
    """Residual blocks, then half the points."""

    def __init__(self, before: int, after: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(before) for _ in range(depth))
        self.down = nn.Conv1d(before, after, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return torch.as_tensor(self.down(x))


class _Block(nn.Module):
    """Two convolutions, the second silent at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        for silent in self.second.parameters():
            nn.init.zeros_(silent)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.second(torch.relu(self.first(torch.relu(x)))))


class Voice(nn.Module):
    """From plain coordinates to vectors and back, by affine coupling layers (Dinh, Sohl-Dickstein and Bengio 2017).

    Each layer scales and shifts one half of the numbers by what the other half says, so that it can be undone exactly;
    halves change from layer to layer. With chance weights it changes nothing.
    """

    def __init__(self, shape: SiamShape) -> None:
        super().__init__()
        width = shape.voice_width
        self.layers = nn.ModuleList()
        for _ in range(shape.voice_depth):
            last = nn.Linear(width, VECTOR)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.layers.append(
                nn.Sequential(nn.Linear(VECTOR // 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)
            )

    def forward(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors `[E, 16]`, and the logarithm of the volume that the map multiplies by `[E]`."""
        x, volume = coordinates, torch.zeros_like(coordinates[:, 0])
        for index in range(len(self.layers)):
            held, moved = self._halves(index, x)
            scale, shift = self._answer(index, held)
            x = self._whole(index, held, moved * scale.exp() + shift)
            volume = volume + scale.sum(1)
        return x, volume

    def inverse(self, vectors: Tensor) -> Tensor:
        """The plain coordinates `[E, 16]` of vectors."""
        x = vectors
        for index in reversed(range(len(self.layers))):
            held, moved = self._halves(index, x)
            scale, shift = self._answer(index, held)
            x = self._whole(index, held, (moved - shift) * (-scale).exp())
        return x

    def _answer(self, index: int, held: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the scale, bounded, and the shift; `[E, 8]` each."""
        x = held
        layers = self.layers[index]
        assert isinstance(layers, nn.Sequential)
        for layer in layers:
            if isinstance(layer, nn.Linear):
                x = nn.functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))
            else:
                x = layer(x)
        scale, shift = x.chunk(2, dim=1)
        return torch.tanh(scale), shift

    @staticmethod
    def _places(index: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers that are held and those that are moved: by the bits of the places in turn, either way round."""
        bit = torch.arange(VECTOR, device=like.device) >> (index // 2 % 4) & 1
        held = bit == index % 2
        return torch.nonzero(held)[:, 0], torch.nonzero(~held)[:, 0]

    def _halves(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        held, moved = self._places(index, x)
        return x[:, held], x[:, moved]

    def _whole(self, index: int, held: Tensor, moved: Tensor) -> Tensor:
        places = torch.cat(self._places(index, held))
        return torch.cat([held, moved], dim=1)[:, torch.argsort(places)]


assert MODES_PER_ATOM * 3 + 4 == VECTOR  # attack, decay, noise and its level among them
