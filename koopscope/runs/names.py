"""What programs call the same things: words that count steps, metrics, buffers, wrappers, layers.

The one vocabulary of everything that reads, records or selects. Works on text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

#: What a checkpoint's number counts.
Unit = Literal["step", "epoch"]

#: Names of values that number a snapshot, and what they count; the first that is there decides.
COUNTERS: Mapping[str, Unit] = {
    "global_step": "step",
    "step": "step",
    "steps": "step",
    "global_steps": "step",
    "iteration": "step",
    "iterations": "step",
    "iter": "step",
    "iters": "step",
    "iter_num": "step",
    "num_updates": "step",
    "update": "step",
    "updates": "step",
    "epoch": "epoch",
    "epochs": "epoch",
}

#: Those that in a dictionary of settings and state may be a total, or count something else:
#: ``epochs`` of a whole training, ``updates`` of an average.
_MAY_BE_TOTALS = frozenset(("steps", "iterations", "iters", "update", "updates", "epochs"))

#: Words before a number in a file's name that are too short to name a value inside a file.
_SHORT_COUNTERS: Mapping[str, Unit] = {
    "globalstep": "step",
    "globalsteps": "step",
    "it": "step",
    "ep": "epoch",
    "e": "epoch",
}

#: Names under which a training and a validation loss are recorded, best first.
TRAINING_LOSSES = ("loss", "train_loss")
VALIDATION_LOSSES = ("val_loss", "validation_loss", "eval_loss")

#: What other programs call the metrics that have a conventional name here.
_CONVENTIONAL = {
    "learning_rate": "lr",
    "train_loss": "loss",
    "training_loss": "loss",
    "eval_loss": "val_loss",
    "valid_loss": "val_loss",
    "validation_loss": "val_loss",
}

_METRIC = re.compile(
    r"((train|training|val|valid|validation|test|eval)[_/])?"
    r"(loss|acc|accuracy|error|perplexity|ppl|f1|auc|bleu|mse|mae|rmse|elbo|reward|top[15]?)"
    r"([_/](train|training|val|valid|validation|test|eval))?"
    r"|lr|learning_rate|grad_norm|time|wall_time|elapsed|seconds|timestamp|best_((val|train)_)?(acc|accuracy|loss|metric|fitness)1?",
    re.IGNORECASE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words in a file's name whose number is a measurement.
_MEASURES = _words(
    "loss acc accuracy error err perplexity ppl f1 auc auroc map miou iou bleu wer cer rouge "
    "mse mae rmse psnr ssim fid elbo nll kl reward score metric top lr rate wd decay momentum "
    "dropout temp temperature beta gamma alpha lambda sigma eps"
)

#: Words in a file's name whose number says which network, data or part of a set it is.
_LABELS = _words(
    "v version ver seed rank shard part of fold trial worker replica gpu node layer layers dim "
    "width depth hidden heads batch bs size px res resolution token tokens tok params param "
    "stage phase ingredient run exp experiment split"
)

#: Words whose number tells runs apart: checkpoints that differ in it are of several runs.
_RUN_WORDS = ("stage", "phase", "ingredient", "seed", "fold", "trial", "replica")

#: Names that training programs give to copies of a checkpoint instead of a number.
_ROLES = _words("last latest best final newest current main adapters")

#: Names that frameworks give to state that is not trained.
BUFFER_NAMES = (
    "*running_mean",
    "*running_var",
    "*moving_mean",
    "*moving_variance",
    "batch_stats/*",
)

#: Counts that frameworks keep next to weights: whole numbers, in no trajectory.
_RUNNING_COUNTS = frozenset(("num_batches_tracked", "iterations", "count", "n_averaged"))

#: What optimizers keep for every weight.
_MOMENTS = _words(
    "exp_avg exp_avg_sq max_exp_avg_sq exp_inf momentum_buffer momentum_buffers square_avg "
    "grad_avg acc_delta exp_avg_factor exp_avg_sq_row exp_avg_sq_col"
)

#: Names of the part of a checkpoint, as a whole, that holds the optimizer's state.
_OPTIMIZER_STATE = _words(
    "optimizer optimizers optimizer_state optimizer_states optimizer_state_dict "
    "optimizer_weights optim optim_state opt_state opt_states lr_scheduler lr_schedulers"
)

#: Words in the names of parts of a checkpoint that belong to training and not to the network: true
#: of parts, not of tensors, since a network may well have a layer named ``scaler``.
_TRAINING_WORDS = _words(
    "optim optimizer optimizers optimiser opt sched scheduler schedulers scaler scalers ema rng "
    "callback callbacks loops hparams args dataloader sampler config"
)

#: Where training programs keep the weights in a checkpoint, best first.
WEIGHT_KEYS = (
    *("state_dict", "model_state_dict", "model_state", "model_states", "model", "module"),
    *("net", "network", "net_state_dict", "weights", "model_weights", "params", "parameters"),
)

#: Where they keep averages of the weights: taken where there is nothing else.
AVERAGE_KEYS = (
    *("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema", "params_ema"),
    *("model_ema_state_dict", "ema_net", "averaged_model"),
)

#: Words in the names of tensors that programs keep beside the weights, and whole such names.
_BESIDE_WORDS = _words(
    "loss losses acc accuracy best noise rng seed lr epoch step metric metrics score fitness "
    "iteration iter z"
)
_BESIDE_NAMES = frozenset(("latent_avg", "w_avg", "mean_path_length"))

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_OF_A_LAYER = re.compile(
    r"[./]|(^|_)(weights?|bias(es)?|kernel|gamma|beta|embeddings?)(_\w+)?$", re.IGNORECASE
)

_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.")


def counter_of(name: str) -> Unit | None:
    """Return what a value of this name counts, or ``None`` if it numbers no snapshot."""
    return COUNTERS.get(_snake(name))


def counter_rank(name: str) -> int:
    """Return how late a counter comes among those of one file: the first decides."""
    return list(COUNTERS).index(_snake(name))


def how_far(names: Iterable[str]) -> list[str]:
    """Return those names of a checkpoint's entries that say how far training was, best first."""
    said = [name for name in names if counter_of(name) and _snake(name) not in _MAY_BE_TOTALS]
    return sorted(said, key=counter_rank)


def counted_in_name(word: str) -> Unit | None:
    """Return what the number after this word of a file's name counts, or ``None``."""
    return COUNTERS.get(word) or _SHORT_COUNTERS.get(word)


def is_metric(name: str) -> bool:
    """Return whether a number of this name describes the moment: a loss, a rate, a time."""
    return _METRIC.fullmatch(_snake(name)) is not None


def never_a_step(word: str) -> bool:
    """Return whether the number after this word of a file's name is a measurement or a label."""
    return word in _MEASURES or word in _LABELS


def tells_runs_apart(word: str) -> bool:
    """Return whether checkpoints whose number after this word differs are of several runs."""
    return word in _RUN_WORDS


def is_role(word: str) -> bool:
    """Return whether a word stands in place of a number: ``last``, ``best``."""
    return word in _ROLES


def conventional(name: str) -> str:
    """Return a metric's conventional name: ``eval_loss`` is ``val_loss``."""
    name = name.strip().replace("/", "_")
    if name in _CONVENTIONAL:
        return _CONVENTIONAL[name]
    return f"val_{name[5:]}" if name.startswith("eval_") else name


def usual_kind(name: str) -> str:
    """Return what a tensor of this name is where its file does not say: see ``TensorInfo.kind``."""
    return "buffer" if any(fnmatchcase(name, glob) for glob in BUFFER_NAMES) else "parameter"


def is_running_count(name: str) -> bool:
    """Return whether a tensor of this name is a count that a layer or an optimizer keeps."""
    return leaf_of(name) in _RUNNING_COUNTS


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case: ``RMSNorm_2.outWeight`` has four, no number."""
    return [word.lower() for word in _WORD.findall(name)]


def is_training_state(name: str) -> bool:
    """Return whether a part of a checkpoint is named after an optimizer, a scheduler or the like.

    ``grad_scaler`` is; ``upscaler`` and ``hypernet`` are not.
    """
    words = set(words_of(name))
    return bool(words & _TRAINING_WORDS) or words == {"hyper", "parameters"}


def is_of_a_layer(name: str) -> bool:
    """Return whether a tensor is named as one of a layer: ``fc.weight``, ``conv_bias``."""
    return _OF_A_LAYER.search(name) is not None


def is_beside_weights(name: str) -> bool:
    """Return whether a tensor is named as those are that programs keep beside the weights."""
    if name in _BESIDE_NAMES:
        return True
    return not is_of_a_layer(name) and not _BESIDE_WORDS.isdisjoint(words_of(name))


def not_a_weight(name: str) -> str:
    """Return why a tensor of floats of this name is no weight, or an empty string."""
    leaf = leaf_of(name)
    first, slash, _ = name.partition("/")
    if leaf in _MOMENTS or (slash and _snake(first) in _OPTIMIZER_STATE):
        return "state of the optimizer, not a weight"
    if leaf == "mask" or leaf.endswith("_mask"):
        return "a mask, not a weight"
    if is_running_count(name):
        return "a running count, not a weight"
    return ""


def layer_of(name: str) -> str:
    """Return the module that owns a tensor: its name without the last dotted or slashed part."""
    cut = max(name.rfind("."), name.rfind("/"))
    return name[:cut] if cut > 0 else name


def leaf_of(name: str) -> str:
    """Return the last dotted or slashed part of a name."""
    return name[max(name.rfind("."), name.rfind("/")) + 1 :]


def plain_names(names: Sequence[str]) -> dict[str, str]:
    """Return each name without what wrappers put in front: ``torch.compile``, DDP, FSDP.

    ``module.`` is removed only where every name starts with it; names that would collide stay.
    """
    plain = dict(zip(names, names, strict=True))
    for inner in _WRAPPERS:
        plain = {name: shown.replace(inner, "") for name, shown in plain.items()}
    while plain and all(shown.startswith("module.") for shown in plain.values()):
        plain = {name: shown[len("module.") :] for name, shown in plain.items()}
    return plain if len(set(plain.values())) == len(plain) else {name: name for name in names}


@dataclass(frozen=True)
class TensorFilter:
    """Which tensors are wanted: any that an ``include`` glob matches, none that ``exclude`` does.

    Attributes
    ----------
    include
        All tensors if there is no glob.
    exclude
        Comes before ``include``.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __call__(self, *names: str) -> bool:
        """Return whether a tensor is wanted that has these names; tied tensors have several."""
        return not self.excludes(*names) and (not self.include or self.includes(*names))

    def includes(self, *names: str) -> bool:
        """Return whether an ``include`` glob matches one of the names."""
        return any(fnmatchcase(name, glob) for name in names for glob in self.include)

    def excludes(self, *names: str) -> bool:
        """Return whether an ``exclude`` glob matches one of the names."""
        return any(fnmatchcase(name, glob) for name in names for glob in self.exclude)

    def __str__(self) -> str:
        """Return the options that ask for it."""
        return " ".join(
            [f"--include {glob}" for glob in self.include]
            + [f"--exclude {glob}" for glob in self.exclude]
        )


def _snake(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")
