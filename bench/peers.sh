#!/bin/bash
# Installs what `bench` compares with and Debian has no package of, from the package registries, into a folder. What
# cannot be installed is left out, the reason is in NAME.log, and the bench lists it as missing.
set -uo pipefail
peers=$(mkdir -p "${1:?peers.sh FOLDER}" && cd "$1" && pwd)

# Rust: coreos-installer's image path, and bmap-rs.
for name in coreos-installer bmap-rs; do
  [ -x "$peers/bin/$name" ] && continue
  echo "building $name"
  cargo install --locked --root "$peers" --target-dir "$peers/../build" "$name" >"$peers/$name.log" 2>&1 ||
    echo "cannot build $name: $peers/$name.log says why"
done

# Python: the write paths of ironic-python-agent and fuel-agent. The second one asks for versions of its libraries that
# no Python of today can install; its code for images runs with those of the first.
python=$peers/python
if [ ! -e "$python/done" ]; then
  echo "installing ironic-python-agent and fuel-agent"
  python3 -m venv "$python" >"$peers/python.log" 2>&1 &&
    "$python/bin/pip" install --quiet ironic-python-agent six jinja2 PyYAML >>"$peers/python.log" 2>&1 &&
    "$python/bin/pip" install --quiet --no-deps fuel-agent >>"$peers/python.log" 2>&1 &&
    touch "$python/done" || echo "cannot install them: $peers/python.log says why"
fi
exit 0
