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

python=.venv/bin/python
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
        basename "$context"/wheel/*.whl | cut -d- -f2
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
