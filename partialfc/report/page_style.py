"""How a page looks: on a phone and on a wide screen, by day, at night and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d2733; --muted: #5b6774; --line: #dde3ea; --ground: #f5f7f9; --panel: #ffffff;
  --accent: #1a5fd0; --good: #24744a; --bad: #b3263a; --bad-ground: #fbe9eb; --empty: #e9edf1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e9ef; --muted: #9aa7b5; --line: #303a46; --ground: #12171d; --panel: #1a2129;
    --accent: #79b0ff; --good: #5cc48d; --bad: #ff8593; --bad-ground: #43202a; --empty: #262f39;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem clamp(0.75rem, 3vw, 2rem) 3rem; max-width: 76rem;
  background: var(--ground); color: var(--ink); overflow-wrap: anywhere;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif;
}
h1 { margin: 0.25rem 0 0.5rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 2rem 0 0.5rem; font-size: 1.2rem; }
h3 { margin: 0; font-size: 1rem; }
p { margin: 0.25rem 0 0.75rem; max-width: 46rem; }
a { color: var(--accent); }
.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 0.5rem; margin: 1rem 0;
}
.facts div {
  padding: 0.5rem 0.75rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel);
}
.facts dt { color: var(--muted); font-size: 0.8125rem; }
.facts dd { margin: 0; font-weight: 600; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0; padding: 0; list-style: none; }
nav a { display: inline-block; padding: 0.25rem 0; }
.count, .bad {
  display: inline-block; padding: 0 0.5em; border-radius: 1em; background: var(--empty);
  font-size: 0.8125rem; font-weight: 600; vertical-align: 0.1em;
}
.bad { background: var(--bad-ground); color: var(--bad); }
.wide { /* a shade at an edge where there is more to scroll to */
  --under: var(--ground); overflow-x: auto; background:
    linear-gradient(to right, var(--under) 1rem, transparent) left / 2rem 100% no-repeat local,
    linear-gradient(to left, var(--under) 1rem, transparent) right / 2rem 100% no-repeat local,
    linear-gradient(to right, var(--line), transparent) left / 0.75rem 100% no-repeat scroll,
    linear-gradient(to left, var(--line), transparent) right / 0.75rem 100% no-repeat scroll;
}
.chart .wide { --under: var(--panel); }
table { border-collapse: collapse; margin: 0.5rem 0; font-size: 0.9375rem; }
th { text-align: left; font-weight: 600; color: var(--muted); }
th, td {
  padding: 0.3rem 1rem 0.3rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word;
}
.number { text-align: right; font-variant-numeric: tabular-nums; }
.bars { width: 100%; max-width: 46rem; }
.bars th, .bars td { border: 0; padding: 0.1rem 0.75rem 0.1rem 0; white-space: nowrap; }
.bars td:nth-child(2) { width: 100%; vertical-align: middle; }
.bars td:nth-child(3) { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: block; height: 0.8rem; min-width: 0; border-radius: 2px; background: var(--accent); }
.groups { display: flex; flex-wrap: wrap; align-items: stretch; gap: 0.75rem; margin: 0.75rem 0; }
.group {
  max-width: 100%; padding: 0.75rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--panel); break-inside: avoid;
}
.group p { margin: 0; color: var(--muted); font-size: 0.875rem; }
.tiles { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 0.5rem; margin-top: 0.5rem; }
figure {
  margin: 0; padding: 3px; width: 7rem; border: 3px solid transparent; border-radius: 6px;
  break-inside: avoid;
}
figure.kept { border-color: var(--good); }
figure.suspect { border-color: var(--bad); }
figure img, .missing {
  display: block; width: 100%; height: 6.5rem; object-fit: contain;
  outline: 1px solid var(--line); background: var(--empty);
}
figure img.exact { image-rendering: pixelated; }
.missing {
  display: grid; place-items: center; color: var(--muted); font-size: 0.8125rem; text-align: center;
}
figcaption { margin-top: 0.25rem; font-size: 0.8125rem; line-height: 1.3; }
figcaption small { display: block; color: var(--muted); font-size: 0.75rem; }
.mark { color: var(--good); }
.suspect .mark { color: var(--bad); }
details { margin: 0.75rem 0; }
summary { padding: 0.25rem 0; color: var(--accent); cursor: pointer; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print {
  :root {
    --ink: #000; --muted: #444; --line: #bbb; --ground: #fff; --panel: #fff;
    --accent: #444; --good: #24744a; --bad: #b3263a; --bad-ground: #fff; --empty: #eee;
  }
  body { padding: 0; font-size: 10pt; print-color-adjust: exact; }
  nav { display: none; }
  .wide { overflow: visible; background: none; }
  th, td { overflow-wrap: anywhere; }
}
"""
