# What .ci/run and .ci/versions share: the README's commands, run word for word. Source it.

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off

say() { printf '\n== %s\n' "$*"; }

# The n-th ```sh block of the README, word for word.
readme_command() {
  awk -v wanted="$1" '/^```sh$/ { inside = 1; n++; next } /^```$/ { inside = 0 } inside && n == wanted' README.md
}

# Print, run and time one of them.
run_readme_command() {
  local text began=$SECONDS
  text=$(readme_command "$1")
  printf '%s\n' "$text"
  bash -euo pipefail -c "$text" || return
  say "README, command $1: passed in $((SECONDS - began)) s"
}
