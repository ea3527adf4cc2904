"""How far half precision is off, for `_margins` in nbs/engine/decision.ipynb: the largest error of logits
and score over photos, how many are looked at again, and how many labels would differ if none were.

`python benchmarks/precision.py MODEL FOLDER...`, on a processor that computes in bfloat16"""
import sys, time
from dataclasses import fields

import torch
from mlc_course.classifier import Classifier
from mlc_course.engine.decision import Decision
from mlc_course.engine.labelling import quick_body, raw_outputs
from mlc_course.engine.pictures import expand_paths


class NeverClose(Decision):
    "The same decision, but no picture is looked at again"
    def is_close_call(self, logits, score): return torch.zeros(len(logits), dtype=torch.bool)


def never_close(decision):
    return NeverClose(**{o.name: getattr(decision, o.name) for o in fields(decision)})


def timed(clf, files, exact):
    start = time.perf_counter()
    logits,score,errors = raw_outputs(clf, files, exact=exact)
    assert not errors
    return logits,score,(time.perf_counter()-start)/len(files)*1000


def errors_of(clf, files):
    "Figures of one model on photos"
    decision = clf.decision
    logits,score,ms = timed(clf, files, exact=True)
    clf.decision = never_close(decision)
    quick_logits,quick_score,quick_ms = timed(clf, files, exact=False)
    clf.decision = decision
    close = decision.is_close_call(quick_logits, quick_score)
    differs = (decision.given(logits, score)!=decision.given(quick_logits, quick_score)).any(1)
    off_logit,off_score = (quick_logits-logits).abs(),(quick_score-score).abs()
    return dict(photos=len(files), off_logit=off_logit.max().item(), off_score=off_score.max().item(),
        usual_off_logit=off_logit.max(1).values.median().item(), usual_off_score=off_score.median().item(),
        close=close.float().mean().item(), differ=int(differs.sum()),
        differ_after_all=int((differs & ~close).sum()),
        ms=ms, quick_ms=quick_ms)


if __name__=='__main__':
    model,*folders = sys.argv[1:]
    clf = Classifier.load(model, 'cpu')
    if quick_body(clf) is None: sys.exit('this processor, or this network, has no use for bfloat16')
    for name,value in errors_of(clf, expand_paths(folders)).items(): print(f'{name:<18} {value:.4g}')
