"""The report's page. Everything in double braces is escaped; images are our own base64."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ dataset }} {{ ds }}: evaluation</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.5rem; margin-bottom: .2rem; }
  h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
  h3 { font-size: 1rem; margin-bottom: .3rem; }
  table { border-collapse: collapse; font-size: .85rem; width: 100%; }
  th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid #eee; vertical-align: top; }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
  .verdict { padding: .5rem .8rem; border-left: 4px solid; margin: 1rem 0; }
  .passed { border-color: #2f7d4f; background: #f1f8f3; }
  .refused { border-color: #b3261e; background: #fdf2f1; }
  .failed { color: #b3261e; font-weight: 600; }
  .quiet { color: #666; }
  .pair { display: grid; grid-template-columns: 2fr 3fr; gap: 1.5rem; }
  img { max-width: 100%; }
  @media (max-width: 40rem) { .pair { grid-template-columns: 1fr; } }
</style>
</head>
<body>
<h1>{{ dataset }}, {{ ds }}</h1>
<p class="quiet">Lists of {{ users }} users. Histories until {{ cutoffs.history_until }}, models until
{{ cutoffs.train_until }}.</p>
<div class="verdict {{ 'passed' if passed else 'refused' }}">
{% if passed %}The gate let tonight's lists pass: {{ checks | length }} checks, {{ warnings }} of them with a warning.
{% else %}The gate refuses tonight's lists. The lists that are live stay live.{% endif %}
</div>
{% for note in notes %}<p>{{ note }}.</p>{% endfor %}

{% for surface in surfaces %}
<h2>{{ surface.name }}</h2>
{% if surface.metrics %}
<h3>The lists of {{ surface.judged }} on what happened until {{ surface.until }}</h3>
<img alt="Measures of the lists beside popularity" src="data:image/png;base64,{{ surface.metrics_plot }}">
<table>
<tr><th>measure</th><th class="number">recjobs</th><th class="number">popularity</th>
<th class="number">difference</th><th class="number">{{ confidence }} interval</th><th class="number">users</th></tr>
{% for row in surface.metrics %}
<tr><td>{{ row.name }}</td><td class="number">{{ row.ours }}</td><td class="number">{{ row.theirs }}</td>
<td class="number">{{ row.difference }}</td><td class="number">{{ row.interval }}</td>
<td class="number">{{ row.users }}</td></tr>
{% endfor %}
</table>
<p class="quiet">Popularity saw nothing after {{ surface.judged }} and keeps the same no-repeat rule. "new" counts only
items the user had not had before. Recall divides by all of a user's outcomes.</p>
{% endif %}
<h3>Tonight's lists</h3>
<p>{{ surface.coverage }} of the {{ surface.eligible }} items that may be shown are on somebody's list.
{% for regime, count in surface.regimes %}{{ count }} {{ regime }} users.{{ " " }}{% endfor %}</p>
<img alt="Lists by length" src="data:image/png;base64,{{ surface.lengths_plot }}">
<img alt="Share of places held by the most shown items" src="data:image/png;base64,{{ surface.exposure_plot }}">
{% endfor %}

{% if training %}
<h2>Towers</h2>
<p>{{ training.windows }} windows, {{ training.epochs }} epochs.
{% if training.ndcg is not none %}On the held-out days recall was {{ "%.4f" | format(training.recall) }} and NDCG
{{ "%.4f" | format(training.ndcg) }} at epoch {{ training.best_epoch }}, whose weights were chosen.{% endif %}</p>
<img alt="The towers' loss by step and epoch" src="data:image/png;base64,{{ training.curves }}">
{% endif %}

<h2>Checks</h2>
<table>
<tr><th>check</th><th>result</th><th class="number">seen</th><th class="number">limit</th><th>detail</th></tr>
{% for check in checks %}
<tr><td>{{ check.name }}</td>
<td class="{{ '' if check.passed else 'failed' }}">{{ "passed" if check.passed else check.severity }}</td>
<td class="number">{{ "%.4g" | format(check.value) }}</td><td class="number">{{ "%.4g" | format(check.limit) }}</td>
<td>{{ check.detail }}</td></tr>
{% endfor %}
</table>

{% if ideas %}
<h2>Wanted and thinly supplied</h2>
<p class="quiet">Kinds of items, by who wants them, that people want beyond their share of the items that may be shown:
demand is the mean of their share of events and of users drawn to them most.</p>
<table>
<tr><th>who</th><th>wants</th><th class="number">demand</th><th class="number">supply</th>
<th class="number">ratio</th><th class="number">items</th><th>such as</th></tr>
{% for idea in ideas %}
<tr><td>{{ idea.who }}</td><td>{{ idea.words }}</td><td class="number">{{ "%.1f%%" | format(idea.demand) }}</td>
<td class="number">{{ "%.1f%%" | format(idea.supply) }}</td><td class="number">{{ "%.1f" | format(idea.ratio) }}</td>
<td class="number">{{ idea.items }}</td><td>{{ idea.examples }}</td></tr>
{% endfor %}
</table>
{% endif %}

<h2>Some users</h2>
{% for sample in samples %}
<h3>{{ sample.user }} <span class="quiet">{{ sample.regime }}, {{ sample.events }} events</span></h3>
<div class="pair">
<table>
<tr><th colspan="3">did, latest first</th></tr>
{% for done in sample.history %}
<tr><td>{{ done.day }}</td><td>{{ done.event }}</td><td>{{ done.title }}</td></tr>
{% else %}
<tr><td class="quiet">nothing yet</td></tr>
{% endfor %}
</table>
<table>
<tr><th colspan="4">is shown</th></tr>
{% for place in sample.shown %}
<tr><td class="number">{{ loop.index }}</td><td>{{ place.title }}</td><td class="quiet">{{ place.reason }}</td>
<td class="number">{{ place.score }}</td></tr>
{% endfor %}
</table>
</div>
{% endfor %}
</body>
</html>
"""
