"""Picture of favourable decisions by group, as PNG bytes made with matplotlib.

Upstream: rows of ``fairness_groups``. Downstream: asset metadata. matplotlib is imported when a picture is drawn.
"""

import io

import pandas as pd

CHAMPION, LIMIT = "#1f5fa8", "#666666"
CHALLENGERS = ("#d1661f", "#2f8f5b", "#8a4fa3")
STEP = 0.18


def fairness_png(rows: pd.DataFrame, min_ratio: float, title: str) -> bytes:
    """One panel an attribute, one point a group and model with its 95 % interval; the champion's limit is dashed.

    Args:
        rows: rows of ``fairness_groups`` of one evaluation.
        min_ratio: share of the best group's rate below which a group is flagged.
    """
    from matplotlib.figure import Figure

    attributes = rows["attribute"].drop_duplicates().tolist()
    figure = Figure(figsize=(8, 0.6 + 2.8 * len(attributes)), layout="constrained")
    panels = figure.subplots(len(attributes), 1, squeeze=False)[:, 0]
    models = rows[["role", "model_version"]].drop_duplicates().sort_values(["role", "model_version"])
    for axes, attribute in zip(panels, attributes, strict=True):
        shown = rows[rows["attribute"].eq(attribute)]
        groups = shown["group_name"].drop_duplicates().tolist()
        for place, (role, version) in enumerate(models.itertuples(index=False)):
            own = shown[shown["role"].eq(role) & shown["model_version"].eq(version)]
            rate = own["favourable_rate"]
            distances = [(rate - own["favourable_rate_low"]).tolist(), (own["favourable_rate_high"] - rate).tolist()]
            at = [groups.index(name) + STEP * (place - (len(models) - 1) / 2) for name in own["group_name"]]
            color = CHAMPION if role == "champion" else CHALLENGERS[place % len(CHALLENGERS)]
            axes.errorbar(at, rate, yerr=distances, fmt="o", capsize=3, color=color, label=f"{role} {version}")
            if role == "champion":
                best = (rate / own["favourable_ratio"].astype(float)).max()
                axes.axhline(min_ratio * best, color=LIMIT, linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(groups)), groups)
        axes.set(xlabel=attribute, ylabel="share of favourable decisions")
        axes.grid(alpha=0.2)
        axes.tick_params(labelsize=8)
    panels[0].legend(fontsize=8, frameon=False)
    panels[0].set_title(f"{title} (dashed: {min_ratio:g} of the champion's best)", loc="left", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
