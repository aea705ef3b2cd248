#!/usr/bin/env bash
# Brings plotly's basic bundle (scatter, bar and pie) from the npm registry: popjax/pages/plotly/renew.sh 4.1.1
set -euo pipefail
cd "$(dirname "$0")"
archive="$(npm pack --silent "plotly.js-basic-dist-min@$1")"
tar --extract --gzip --file "$archive" --strip-components 1 package/plotly-basic.min.js package/LICENSE
rm "$archive"
