"""How pages look: on a screen, narrow or wide, light or dark, and on paper."""

from __future__ import annotations

STYLE = """
:root{--ground:#fff;--text:#1d2329;--faint:#56616c;--line:#d5dae0;--soft:#f3f5f7;--link:#1a56a8;
--bad-ground:#fff1d6;--bad-line:#c77700;
--before:#a3adb8;--after:#1f62b5;--fold:#ff00ff}
@media screen and (prefers-color-scheme:dark){:root{--ground:#14181c;--text:#e4e8ec;--faint:#a3adb8;--line:#3a434c;
--soft:#1e242a;--link:#8ab8f5;--bad-ground:#3d2c07;--bad-line:#f0a730;
--before:#6f7b87;--after:#6aa5f0;--fold:#ff4dff}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;max-width:72rem;margin:0 auto;
padding:1rem;color:var(--text);background:var(--ground);overflow-wrap:break-word}
.wide{max-width:none}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.25rem;margin:2rem 0 .5rem;padding-bottom:.2rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.25rem 0 .25rem}
p{margin:.4rem 0;max-width:75ch}
a{color:var(--link)}
ul{padding-left:1.2rem;margin:.4rem 0}
.warnings,.notes{border-left:.35rem solid var(--line);background:var(--soft);padding:.6rem .8rem .6rem 2rem;
margin:.6rem 0}
.warnings{border-color:var(--bad-line);background:var(--bad-ground)}
p.notes{padding-left:.8rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.8rem,1fr));gap:.6rem;margin:.8rem 0}
.tiles div{border:1px solid var(--line);border-radius:.4rem;padding:.5rem .7rem;background:var(--soft)}
.tiles dt{color:var(--faint);font-size:.85rem}
.tiles dd{margin:0;font-size:1.05rem;font-weight:600;font-variant-numeric:tabular-nums}
.tiles .remark{font-size:.8rem;font-weight:400;color:var(--faint)}
.scroll{overflow-x:auto;margin:.6rem 0 1.2rem}
.long{max-height:30rem;overflow-y:auto;border-bottom:2px solid var(--line)}
.long thead th{position:sticky;top:0;z-index:3}
.scroll:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--after);outline-offset:2px}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--faint);padding:.2rem 0;font-size:.85rem}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{vertical-align:bottom;background:var(--soft)}
thead th:first-child,tfoot th{position:sticky;left:0;z-index:2;background:var(--soft)}
tbody th{font-weight:600;position:sticky;left:0;background:var(--ground);min-width:7.5rem;max-width:22rem}
td{max-width:34rem}
.number{text-align:right}
td.number{white-space:nowrap}
.odd{font-weight:700;background:var(--bad-ground)}
tfoot th,tfoot td{border-top:2px solid var(--line);color:var(--faint)}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;text-align:inherit}
th[aria-sort=ascending] button::after{content:" \\25B2"}
th[aria-sort=descending] button::after{content:" \\25BC"}
.pictures{display:flex;flex-wrap:wrap;gap:.8rem;align-items:flex-start}
figure{margin:0;flex:var(--width,300) 1 calc(var(--width,300)*.75px);min-width:min(100%,13rem);
max-width:min(100%,calc(var(--width,300)*1.5px))}
figure img{display:block;width:100%;height:auto;background:#000}
figcaption{font-size:.85rem;color:var(--faint);margin-top:.2rem}
.legend{display:block;width:20rem;max-width:100%;margin:.3rem 0 .6rem;font-size:12px;fill:var(--text)}
.beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,27rem),1fr));gap:0 1.5rem;align-items:start}
.plot{display:block;width:100%;max-width:34rem;margin:.4rem 0 1rem;font-size:13px;fill:var(--text)}
.plot .axis{stroke:var(--line);stroke-width:1}
.plot .mark{stroke:var(--faint);stroke-width:1;stroke-dasharray:3 3}
.plot .tick{fill:var(--faint);font-size:12px}
.plot .before{fill:var(--before)}
.plot .after{fill:var(--after)}
.plot .box{fill:var(--after);fill-opacity:.35;stroke:var(--after)}
.plot .line{stroke:var(--after);stroke-width:1.5}
.plot .median{stroke:var(--text);stroke-width:2}
.plot .folded{fill:var(--fold)}
.plot .zone{fill:var(--fold);fill-opacity:.15}
footer{color:var(--faint);font-size:.85rem;margin-top:2rem;border-top:1px solid var(--line);padding-top:.5rem}
.hidden{position:absolute;clip-path:inset(50%);width:1px;height:1px;overflow:hidden}
@media print{body{font-size:10pt;max-width:none;padding:0}.scroll,.long{overflow:visible;max-height:none}
table{font-size:8pt}
th,td{padding:.15rem .35rem}th{position:static!important}section{break-inside:auto}h2,h3{break-after:avoid}
.group,figure,.tiles div,tr,.plot{break-inside:avoid}.pictures{flex-wrap:nowrap}figure{min-width:0}
.beside{grid-template-columns:1fr 1fr}.beside .plot{max-height:20cm}.plot{max-width:9cm}.tiles dd{font-size:11pt}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
""".replace("\n", "")
