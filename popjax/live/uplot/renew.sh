#!/usr/bin/env bash
# Brings uPlot, which draws the curves, from the npm registry: popjax/live/uplot/renew.sh 1.6.32
set -euo pipefail
cd "$(dirname "$0")"
archive="$(npm pack --silent "uplot@$1")"
tar --extract --gzip --file "$archive" --strip-components 1 package/LICENSE
tar --extract --gzip --file "$archive" --to-stdout package/dist/uPlot.iife.min.js >uplot.min.js
tar --extract --gzip --file "$archive" --to-stdout package/dist/uPlot.min.css >uplot.min.css
rm "$archive"
