"""The style of a report: light and dark as the reader's system is, and for paper."""

STYLE = """
:root { color-scheme: light dark;
  --page: #ffffff; --card: #f5f7f9; --ink: #1b2430; --quiet: #566270; --line: #d8dee6; --grid: #e9edf1;
  --lock: #2b66ad; --wait: #bf3f27; --queue: #a8690a; --run: #1f7a68; --node: #4d6580; --blind: #7a57a5; --good: #1f7a4d; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161c; --card: #1a2029; --ink: #e7ebf1; --quiet: #a0acba; --line: #333d49; --grid: #242c36;
  --lock: #6ea8ee; --wait: #ff8a70; --queue: #e3ad4f; --run: #57c2ab; --node: #9db3cc; --blind: #bd9ce6; --good: #62c795; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.5rem 4rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; font-weight: 650; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .3rem; padding-top: .8rem; border-top: 1px solid var(--line); font-weight: 650; }
h3 { font-size: 1rem; margin: 1.5rem 0 .2rem; font-weight: 650; overflow-wrap: anywhere; }
p { margin: .3rem 0 .8rem; max-width: 52rem; } .quiet, caption, figcaption { color: var(--quiet); }
a { color: var(--lock); text-underline-offset: 2px; } :focus-visible { outline: 2px solid var(--lock); outline-offset: 2px; }
nav { margin: 1rem 0 1.6rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
dl.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(14.5rem, 1fr)); gap: .7rem; margin: 1rem 0; }
dl.cards div { background: var(--card); border-radius: 6px; border-left: 4px solid var(--line); padding: .6rem .8rem .7rem; }
dl.cards dt { color: var(--quiet); font-size: .85rem; } dl.cards dd { margin: 0; }
dl.cards dd.figure { font-size: 1.45rem; font-weight: 650; line-height: 1.3; } dl.cards dd.note { font-size: .85rem; color: var(--quiet); }
dl.cards div.bad { border-left-color: var(--wait); } dl.cards div.bad .figure { color: var(--wait); }
dl.cards div.warn { border-left-color: var(--queue); } dl.cards div.good { border-left-color: var(--good); }
ul.findings { padding-left: 1.2rem; margin: .4rem 0 1rem; max-width: 56rem; } ul.findings li { margin: .25rem 0; overflow-wrap: anywhere; }
figure { margin: .8rem 0 1.2rem; } figcaption { font-size: .85rem; margin-top: .3rem; }
.wide { overflow-x: auto; } svg { display: block; width: 100%; min-width: 46rem; height: auto; font: 12px/1 inherit; font-family: inherit; }
svg text { fill: var(--ink); font-size: 12px; } svg text.quiet { fill: var(--quiet); font-size: 11px; } svg text.end { text-anchor: end; }
svg text.middle { text-anchor: middle; }
.grid { stroke: var(--grid); stroke-width: 1; } .base { stroke: var(--line); stroke-width: 1; }
.lock { fill: var(--lock); } .wait { fill: var(--wait); } .queue { fill: var(--queue); } .run { fill: var(--run); }
.node { fill: var(--node); } .blind { fill: var(--blind); } .maybe { opacity: .35; } .area { opacity: .85; }
.hatch { stroke: var(--blind); stroke-width: 2; opacity: .7; } .veil { fill: url(#hatch); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; font-size: .85rem; color: var(--quiet); margin: .3rem 0; }
.legend svg { width: 14px; min-width: 14px; height: 10px; display: inline-block; margin-right: .35rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1rem; font-size: .9rem; }
caption { text-align: left; font-size: .85rem; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; color: var(--quiet); border-bottom-color: var(--line); white-space: nowrap; }
td.number, th.number { text-align: right; white-space: nowrap; padding-right: 1.6rem; }
td.time, td.time code { white-space: nowrap; } td.span { min-width: 11rem; }
td.sql { min-width: 16rem; } code, pre { font-family: ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; font-size: .82rem;
  white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; } summary { cursor: pointer; } details pre { padding: .5rem 0; }
.flag { color: var(--wait); font-weight: 600; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .8rem; font-size: .85rem; color: var(--quiet); }
@media print { :root { color-scheme: light; --page: #fff; --card: #f5f7f9; --ink: #000; --quiet: #444; --line: #bbb; --grid: #ddd;
    --lock: #2b66ad; --wait: #bf3f27; --queue: #a8690a; --run: #1f7a68; --node: #4d6580; --blind: #7a57a5; --good: #1f7a4d; }
  @page { margin: 14mm; } body { max-width: none; padding: 0; font-size: 10.5px; } nav { display: none; } svg { min-width: 0; }
  .wide { overflow: visible; } h2, h3 { break-after: avoid; } tr, figure, dl.cards div { break-inside: avoid; }
  thead { display: table-header-group; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
