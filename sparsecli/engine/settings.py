"""Settings of the stages: a dataclass each, the only place where their defaults and ranges stand. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from sparsecli.core.columns import (
    MAX_FREQ_HZ,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    NUMBERS_OF_MODE,
    NUMBERS_OF_STRIKE,
)
from sparsecli.losses.names import parse_terms

Device = Literal["auto", "cpu", "cuda", "mps"]
Quality = Literal["fast", "normal", "best"]
Method = Literal["siam", "pursuit"]
Form = Literal["events", "atoms"]  # what a model's decomposition is written as
FitMethod = Literal["search", "descent", "search+descent"]
Init = Literal["random", "search"]
Envelope = Literal["gamma", "gaussian"]  # of the bursts of source and excitation
Variant = Literal["plain", "cyclic", "orthogonal", "gradient"]
SplitBy = Literal["note", "event"]  # what stems are of

MAX_ATOMS = 100_000
DEFAULT_ATOMS = 64
LEAST_NUMBERS = NUMBERS_OF_STRIKE + NUMBERS_OF_MODE  # of an atom
DEFAULT_EVENTS = 54  # vectors of 18 numbers: with the air, no more numbers than 64 atoms of 16
DEFAULT_WINDOWS = 204  # windowed waves of five numbers: as many numbers as 64 atoms of 16
MAX_THRESHOLD = 0.1  # beyond, what an atom leaves behind of its neighbours is as large as they are
MAX_REFINE = 1000  # rounds, far beyond where they change anything
MAX_SNR_DB = 150.0  # what float32 samples can tell from a perfect copy
MIN_BANDWIDTH_HZ = 20.0  # the lowest audible tone
MIN_BITS, MAX_BITS = 4.0, 16.0  # a number: below, too many modes drop out; above, plain float32 is no larger
SEEDS = 2**21  # a noise key holds 21 bits of the seed (`core.events.make_noise_seeds`)
MAX_PITCH_SHIFT_SEMITONES = 96.0  # eight octaves: more than the audible range
MAX_TIME_STRETCH = 100.0
MAX_GAIN_DB = 120.0
MAX_PERTURB_OCTAVES = 10.0
MAX_SEED = 2**63 - 1  # of what numpy draws
MAX_LOOP_S = 86400.0  # a day, as long as events may be
MAX_ROUNDS = 10_000
MAX_ITERATIONS = 10_000_000
MAX_SPARSITY = 1e6
OF_DESCENT = (
    "init",
    "iterations",
    "lr",
    "loss",
    "sparsity",
    "envelope",
)  # settings of `fit` that the search has no use for


@dataclass(frozen=True)
class Effort:
    """What a fit takes upon itself for a named quality.

    Attributes:
        newcomers: atoms added in a round to each 1.486 s, at most.
        sweep_steps: steps over all atoms of a stretch after newcomers.
        relocations: times that more is taken than may stay, the weakest dropped, and what that frees spent anew.
        over: share of the atoms and numbers that are taken then.
        under: share that is kept of them.
        fills: turns in which the rest is spent, on partials and new atoms.
        polish_steps: steps over all atoms at the end, at most.
        search_turns: in which all shapes of new atoms are tried, a part of them in each round.
        told: the cost and the gain against `normal`, for the help.
    """

    newcomers: int
    sweep_steps: int
    relocations: int
    over: float
    under: float
    fills: int
    polish_steps: int
    search_turns: int
    told: str


EFFORTS: dict[Quality, Effort] = {
    "fast": Effort(6, 2, 0, 1.0, 1.0, 0, 6, 4, "0.55 times the time, 0.5 dB less"),
    "normal": Effort(6, 2, 1, 1.2, 0.75, 3, 6, 2, ""),
    "best": Effort(3, 3, 3, 1.3, 0.75, 3, 12, 1, "2.7 times the time, 0.2 dB more"),
}


@dataclass(frozen=True)
class FitSettings:
    """Settings of `fit`.

    Attributes:
        atoms: density: this many atoms for each 1.486 s of audio; None: 64, or as many as the budget allows.
        snr_db: stop once the coherent part reaches this SNR; None: no such goal.
        budget: hard cap on the numbers in use for each 1.486 s, air included; None: no cap.
        seconds: stop after this much time; None: no limit. The one rule that gives up identical bytes.
        bandwidth_hz: modes are searched up to here.
        bits: quantise to about so many bits of entropy a number; None: not at all, float32.
        seed: of the noise bursts.
        device: where torch works; `auto` takes the fastest there is.
        quality: how much work the fit takes upon itself.
        price: of a number, as a share of what the description length asks.
        notes: group the atoms into musical notes.
        method: how atoms are found: by search and second-order steps, by gradient descent, or by the one and then the
            other, in which onsets stay within 5 ms and frequencies within their main lobes.
        init: where descent begins: at random atoms of the seed, or at those of the search.
        iterations: steps of descent at most, on each batch of 8 stretches of 1.486 s; it ends once it has settled.
        lr: learning rate of the first step and of the last, in scaled units (docs/losses.md).
        loss: what descent lowers: a name or a sum such as mrstft+0.1*scattering (docs/losses.md).
        sparsity: weight of the mean amplitude of the modes, in units of the recording's peak, beside the loss.
        envelope: descend to sources and excitations (docs/losses.md), whose bursts have this envelope; None: to atoms.
        room: in which they sound: an impulse response, a file or the name of one in IMPULSE_RESPONSE_PATH; None: dry.
    """

    atoms: int | None = None
    snr_db: float | None = None
    budget: int | None = None
    seconds: float | None = None
    bandwidth_hz: float = 11025.0
    bits: float | None = None
    seed: int = 0
    device: Device = "auto"
    quality: Quality = "normal"
    price: float = 0.25
    notes: bool = False
    method: FitMethod = "search"
    init: Init = "random"
    iterations: int = 3000
    lr: str = "1e-2..1e-4"
    loss: str = "mrstft-linear"
    sparsity: float = 0.1
    envelope: Envelope | None = None
    room: str | None = None

    @property
    def learning_rates(self) -> tuple[float, float]:
        """Of the first step and of the last. Raises ValueError where the setting is no such range."""
        return parse_rates(self.lr)

    @property
    def effort(self) -> Effort:
        """What the quality asks for."""
        return EFFORTS[self.quality]

    @property
    def density(self) -> int:
        """Atoms for each 1.486 s at most: as many as were asked for, or as the budget allows."""
        if self.atoms is not None:
            return self.atoms
        return DEFAULT_ATOMS if self.budget is None else max(1, self.budget // LEAST_NUMBERS)

    def __post_init__(self) -> None:
        check_range("--atoms", self.atoms, 1, MAX_ATOMS)
        check_range("--snr", self.snr_db, 0, MAX_SNR_DB, "dB")
        check_range("--budget", self.budget, 1, None)
        check_range("--seconds", self.seconds, 0, None, "s")
        check_range("--bandwidth", self.bandwidth_hz, MIN_BANDWIDTH_HZ, MAX_FREQ_HZ, "Hz")
        check_range("--bits", self.bits, MIN_BITS, MAX_BITS)
        check_range("--seed", self.seed, 0, SEEDS - 1)
        check_range("--iterations", self.iterations, 1, MAX_ITERATIONS)
        check_range("--sparsity", self.sparsity, 0, MAX_SPARSITY)
        parse_terms(self.loss)
        parse_rates(self.lr)
        changed = {entry.name for entry in fields(self) if getattr(self, entry.name) != entry.default}
        self.check_method(changed)

    def check_method(self, given: set[str]) -> None:
        """Raise ValueError where a setting was given that the method has no use for."""
        idle = [name for name in OF_DESCENT if name in given]
        if self.method == "search" and idle:
            raise ValueError(f"--{idle[0]} belongs to --method descent or search+descent; the search has no use for it")
        if self.envelope and (self.method != "descent" or self.init != "random"):
            raise ValueError("--envelope belongs to --method descent with --init random: a search finds atoms")
        if self.room and not self.envelope:
            raise ValueError("--room belongs to --envelope; `sparse render --room` plays any events in a room")
        if self.method == "search+descent" and "init" in given:
            raise ValueError("--init belongs to --method descent; search+descent begins at what the search found")
        if self.method == "descent" and self.init == "random" and self.snr_db is not None:
            raise ValueError("--snr belongs to the search; give --method search+descent, or --init search")


# The settings of one method alone, and what the command line calls them.
OPTIONS_OF: dict[Method, dict[str, str]] = {
    "siam": {
        "model": "--model",
        "form": "--as",
        "refine": "--refine",
        "budget": "--budget",
        "device": "--device",
    },
    "pursuit": {
        "dictionary": "--dictionary",
        "variant": "--variant",
        "overlap": "the setting overlap",
        "threshold": "the setting threshold",
    },
}


@dataclass(frozen=True)
class DecomposeSettings:
    """Settings of `decompose`.

    Attributes:
        method: how events are found: by a trained model (`siam`), or by `pursuit` over a dictionary.
        model: of `siam`: the name of one that was fetched, or a file; None: the one that comes with the package.
        form: of `siam`: `events` are vectors, which need the model; `atoms` sound the same and need it no more.
        refine: of `siam`: rounds that the fit takes from there, which gives atoms.
        budget: of `siam`: hard cap on the numbers in use for each 1.486 s, air included; None: no cap.
        device: of `siam`: where torch works; `auto` takes the fastest there is.
        dictionary: of `pursuit`: families joined by +, each with lengths of windows in samples after a colon; or a
            learned one, a file (.safetensors) or learned: and the name of one that was fetched.
        variant: of `pursuit`: `plain` takes the best atom and never looks back, `gradient` takes a step along the
            gradient of all amplitudes that a new atom meets, `orthogonal` solves them, `cyclic` chooses atoms again.
        atoms: density: this many events for each 1.486 s of audio; None: 54, or as many as the budget allows, and for
            `pursuit` 204, or as many as the SNR takes.
        snr_db: stop once this SNR is reached; None: no such goal.
        seconds: stop after this much time; None: no limit. The one rule that gives up identical bytes.
        overlap: of `pursuit`: atoms of one frequency for each length of their window.
        threshold: of `pursuit`: inner products between atoms of energy 1 that are smaller count as 0; 0 is exact and
            slow.
        notes: group the events into musical notes; those of `siam` only as atoms.
    """

    method: Method = "siam"
    model: str | None = None
    form: Form = "events"
    refine: int = 0
    budget: int | None = None
    device: Device = "auto"
    dictionary: str = "gabor"
    variant: Variant = "plain"
    atoms: int | None = None
    snr_db: float | None = None
    seconds: float | None = None
    overlap: int = 4
    threshold: float = 1e-4
    notes: bool = False

    @property
    def density(self) -> int | None:
        """Events for each 1.486 s at most; None: no such limit."""
        if self.method == "siam":
            return DEFAULT_EVENTS if self.atoms is None and self.budget is None else self.atoms
        return DEFAULT_WINDOWS if self.atoms is None and self.snr_db is None else self.atoms

    @property
    def gives_atoms(self) -> bool:
        """Whether the events become ordinary atoms."""
        return self.form == "atoms" or self.refine > 0

    def __post_init__(self) -> None:
        from .dictionaries import OVERLAPS, names_learned, parse_dictionary

        for other in (method for method in OPTIONS_OF if method != self.method):
            for field, option in OPTIONS_OF[other].items():
                if getattr(self, field) != getattr(DecomposeSettings, field):
                    raise ValueError(f"{option} is of --method {other}; give that, or leave it out")
        if self.method == "siam" and self.notes and not self.gives_atoms:
            raise ValueError("--notes needs frequencies, which events of kind siam have not; add --as atoms")
        if not names_learned(self.dictionary):
            parse_dictionary(self.dictionary)
        check_range("--atoms", self.atoms, 1, MAX_ATOMS)
        check_range("--snr", self.snr_db, 0, MAX_SNR_DB, "dB")
        check_range("--refine", self.refine, 0, MAX_REFINE)
        check_range("--budget", self.budget, 1, None)
        check_range("--seconds", self.seconds, 0, None, "s")
        check_range("threshold", self.threshold, 0, MAX_THRESHOLD)
        if self.overlap not in OVERLAPS:
            raise ValueError(f"an overlap of {self.overlap}; give one of {', '.join(map(str, OVERLAPS))}")


@dataclass(frozen=True)
class RenderSettings:
    """Settings of `render`.

    Attributes:
        sample_rate: in Hz; None: the source's.
        pitch_shift_semitones: of all modes; the air stays.
        time_stretch: factor on all times; 2 is twice as long.
        gain_db: added to all levels.
        noise: False leaves out air and bursts: the coherent part.
        random_times: notes (and events without one) at random times, evenly over the recording.
        random_events: events trade sounds and keep their times.
        perturb_octaves: one random change of sound, the same for all events, so strong.
        seed: of what is random.
        wet: share of the sound that goes into the room, if there is one; 1: all of it.
        normalize_room: bring the room's response to the energy 1; False takes it as it is.
        loop_s: length of a round without a seam; 0: as long as the recording; None: not a loop.
        rounds: of the loop, in the file.
        device: where torch works; `auto` takes the fastest there is.
    """

    sample_rate: int | None = None
    pitch_shift_semitones: float = 0.0
    time_stretch: float = 1.0
    gain_db: float = 0.0
    noise: bool = True
    random_times: bool = False
    random_events: bool = False
    perturb_octaves: float = 0.0
    seed: int = 0
    wet: float = 0.3
    normalize_room: bool = True
    loop_s: float | None = None
    rounds: int = 1
    device: Device = "auto"

    def __post_init__(self) -> None:
        check_range("--sample-rate", self.sample_rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE, "Hz")
        most = MAX_PITCH_SHIFT_SEMITONES
        check_range("--pitch-shift", self.pitch_shift_semitones, -most, most, "semitones")
        check_range("--time-stretch", self.time_stretch, 1 / MAX_TIME_STRETCH, MAX_TIME_STRETCH)
        check_range("--gain", self.gain_db, -MAX_GAIN_DB, MAX_GAIN_DB, "dB")
        check_range("--perturb", self.perturb_octaves, 0, MAX_PERTURB_OCTAVES, "octaves")
        check_range("--seed", self.seed, 0, MAX_SEED)
        check_range("--wet", self.wet, 0, 1)
        check_range("--loop", self.loop_s, 0, MAX_LOOP_S, "s")
        check_range("--rounds", self.rounds, 1, MAX_ROUNDS)


@dataclass(frozen=True)
class RenderOptions(RenderSettings):
    """Settings of `sparse render`: those of a rendering, and where its room is.

    Attributes:
        room: impulse response, a file or the name of one in that folder; None: dry.
        impulse_response_path: folder of impulse responses.
    """

    room: str | None = None
    impulse_response_path: str = ""


def parse_rates(text: str) -> tuple[float, float]:
    """Learning rates from `HIGH..LOW`, or one number for both.

    Raises:
        ValueError: no such numbers.

    >>> parse_rates("1e-2..1e-4")
    (0.01, 0.0001)
    """
    try:
        numbers = [float(part) for part in text.split("..")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < number <= 1 for number in numbers):
        raise ValueError(f"--lr {text} is no range of learning rates; give HIGH..LOW, e.g. 1e-2..1e-4")
    return numbers[0], numbers[-1]


def check_range(option: str, value: float | None, low: float, high: float | None, unit: str = "") -> None:
    """Raise ValueError, naming the option that cures it, unless `value` is None or lies in [low, high].

    >>> check_range("--atoms", 0, 1, 100)
    Traceback (most recent call last):
    ValueError: --atoms 0 is out of range; give 1 to 100
    """
    if value is None or (low <= value < float("inf") and (high is None or value <= high)):
        return
    wanted = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
    raise ValueError(f"{option} {value:g} is out of range; give {wanted} {unit}".rstrip())
