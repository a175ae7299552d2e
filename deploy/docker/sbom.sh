#!/usr/bin/env bash
# Writes what each image holds as CycloneDX JSON below build/sbom/; called by `make sbom`. The platform's image is always
# there; the serving image's follows once `make images` has laid out its context.
#
#   IMAGES  which; default: "platform serving"
set -euo pipefail
cd "$(dirname "$0")/../.."

bin=${BIN:-.venv/bin}
mkdir -p build/sbom

declare -A locks=(
    [platform]=deploy/docker/requirements-platform.lock
    [serving]=build/images/serving/requirements.lock
)
read -ra images <<<"${IMAGES:-platform serving}"

for image in "${images[@]}"; do
    file=${locks[$image]:-}
    if [ -z "$file" ]; then
        echo "sbom: IMAGES names '$image', expected platform or serving" >&2
        exit 2
    elif [ ! -f "$file" ]; then
        echo "sbom: $image is left out, $file is not there; \`make images BENTO=...\` lays it out" >&2
        continue
    fi
    "$bin/cyclonedx-py" requirements "$file" --spec-version 1.6 --output-format JSON --output-reproducible --validate \
        --output-file "build/sbom/$image.cdx.json"
    echo "sbom: build/sbom/$image.cdx.json"
done
