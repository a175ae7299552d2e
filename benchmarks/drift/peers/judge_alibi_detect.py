"""alibi-detect's tabular detector with its defaults: KS and chi-square, Bonferroni at .05.

Its MMD detector needs PyTorch or TensorFlow and is left out. Upstream: windows. Downstream: ``environments``.
"""

from collections.abc import Mapping

import pandas as pd
from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found]  # installed in its own environment alone

from benchmarks.drift.peers.exchange import answer, features, imputed

P_VALUE = 0.05


def judge(reference: pd.DataFrame, current: pd.DataFrame) -> Mapping[str, bool]:
    """Fails by Bonferroni's correction (the default) and by that of Benjamini and Hochberg."""
    numeric, categorical = features(reference)
    before, after = imputed(reference, reference), imputed(current, reference)
    levels = {name: sorted(set(before[name]) | set(after[name])) for name in categorical}
    matrices = []
    for frame in (before, after):
        codes = {name: frame[name].map({level: code for code, level in enumerate(levels[name])}) for name in levels}
        matrices.append(frame.assign(**codes)[[*numeric, *categorical]].to_numpy(float))
    places = {len(numeric) + place: len(levels[name]) for place, name in enumerate(categorical)}
    answers = {}
    for name, correction in (("Bonferroni (default)", "bonferroni"), ("false discovery rate", "fdr")):
        detector = TabularDrift(matrices[0], P_VALUE, categories_per_feature=places, correction=correction)
        answers[f"TabularDrift, {name}"] = bool(detector.predict(matrices[1])["data"]["is_drift"])
    return answers


if __name__ == "__main__":
    answer(judge)
