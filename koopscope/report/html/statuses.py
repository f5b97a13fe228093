"""What pages call the statuses of findings."""

#: Statuses in words, worst first.
STATUS_WORDS = {
    "fail": "wrong",
    "warn": "look at this",
    "inconclusive": "cannot tell",
    "info": "to know",
    "pass": "fine",
}
