"Edges of chapter 05: what each metric refuses, and what it makes of silence, ties and absent labels"
import numpy as np, pandas as pd, pytest, torch
from fastai import metrics as fastai_metrics
from fastai.metrics import AccumMetric
from sklearn import metrics as skm
from torch import tensor

from conftest import ROOT
from mlc_course.deeper import fast_metrics
from mlc_course import metrics
from mlc_course.metrics import *

RESULTS = ROOT/'nbs/results'
NAN = float('nan')
THREE = tensor([[.9,.2], [.6,.4], [.1,.3]]),tensor([[1,0], [0,0], [0,1]])
FOUR = tensor([[.9],[.6],[.4],[.2]]),tensor([[1],[0],[1],[0]])


@pytest.fixture
def scored():
    "Scores that know a little of 200 pictures with five labels"
    gen = torch.Generator().manual_seed(0)
    targets = (torch.rand(200, 5, generator=gen)<.3).float()
    return .4*targets + .6*torch.rand(200, 5, generator=gen),targets


def close(a, b): return np.allclose(np.asarray(a), np.asarray(b), atol=1e-6, equal_nan=True)


def test_moved_names_stay():
    "What is counted fast is the same object, by either name"
    for name in fast_metrics.__all__:
        assert name in metrics.__all__
        assert getattr(metrics, name) is getattr(fast_metrics, name)


# --- accuracy

def test_a_threshold_for_each_label(): assert close(accuracy_multi(*THREE, thresh=tensor([.7,.25])), 5/6)


def test_answers_instead_of_probabilities(): assert close(accuracy_multi(THREE[0]>.5, THREE[1]), 4/6)


def test_same_as_fastai(scored):
    assert close(accuracy_multi(*scored), fastai_metrics.accuracy_multi(*scored, sigmoid=False))
    silent = torch.full((37,37), -10.),torch.eye(37)
    assert close(accuracy_multi(silent[0].sigmoid(), silent[1]), fastai_metrics.accuracy_multi(*silent))


def test_what_does_not_fit_is_named():
    probs,targets = THREE
    with pytest.raises(ValueError, match=r'\(2, 2\)'): accuracy_multi(probs, targets[:2])
    with pytest.raises(ValueError, match=r'\(3,\)'): accuracy_multi(probs, targets, thresh=tensor([.5]*3))
    with pytest.raises(ValueError, match='thresh is nan'): accuracy_multi(probs, targets, tensor([.5,NAN]))
    with pytest.raises(ValueError, match='nan'): exact_match(probs*NAN, targets)
    with pytest.raises(ValueError, match='0 or 1'): average_precision(probs, targets*2)


def test_whole_sets(scored):
    probs,targets = scored
    assert close(exact_match(*THREE), 1/3)
    assert exact_match(torch.zeros(37, 37), torch.eye(37))==0
    expected = skm.accuracy_score(y_true=targets.numpy(), y_pred=(probs>.5).numpy())
    assert close(exact_match(probs, targets), expected)


# --- F1

def test_silence_names_nothing_and_finds_nothing():
    res = precision_recall_f1(torch.zeros(37, 37), torch.eye(37))
    assert res[:,0].isnan().all()
    assert res[:,1:].max()==0
    assert macro_f1(torch.zeros(37, 37), torch.eye(37))==0


def test_same_as_sklearn(scored):
    probs,targets = scored
    preds = (probs>.5).numpy()
    ref = skm.precision_recall_fscore_support(y_true=targets.numpy(), y_pred=preds, zero_division=np.nan)
    assert close(precision_recall_f1(probs, targets), np.stack(ref[:3], 1))
    expected = skm.f1_score(y_true=targets.numpy(), y_pred=preds, average='macro')
    assert close(macro_f1(probs, targets), expected)


def test_a_label_that_never_occurs_is_left_out():
    two = tensor([[.9,.1],[.2,.1]]),tensor([[1,0],[0,0]])
    assert macro_f1(*two)==1
    assert mean_ap(*two)==1


def test_always_yes():
    "Recall 1, and as precision the share p of pictures with the label: 2p/(1+p)"
    share = torch.arange(1, 10)/10
    targets = torch.arange(1, 11)[:,None]<=10*share
    assert close(precision_recall_f1(torch.ones(10, 9), targets)[:,2], 2*share/(1+share))


# --- rankings

def test_rankings(scored):
    probs,targets = scored
    assert close(average_precision(torch.ones(4, 1), FOUR[1]), [.5]) # equal scores: 2 of 4 are hits
    assert average_precision(torch.rand(4, 1), torch.zeros(4, 1)).isnan().all()
    for p in probs,(probs*5).round()/5: # many ties
        expected = [skm.average_precision_score(y_true=t, y_score=o) for t,o in zip(targets.T, p.T)]
        assert close(average_precision(p, targets), expected)
        assert close(mean_ap(p, targets), np.mean(expected))
    assert close(mean_ap(probs.logit(), targets), mean_ap(probs, targets)) # any rising function will do


def test_averages_of_batches_flatter(scored):
    "Right for accuracy, a mean of means; wrong for a ranking, unless all batches are collected"
    probs,targets = torch.rand(320, 5),(torch.rand(320, 5)<.2).float()
    batches = list(zip(probs.split(32), targets.split(32)))
    def mean(metric): return torch.stack([metric(*o) for o in batches]).mean()
    assert close(mean(accuracy_multi), accuracy_multi(probs, targets))
    assert mean(mean_ap)>mean_ap(probs, targets)+.02
    assert close(AccumMetric(mean_ap, flatten=False)(probs, targets), mean_ap(probs, targets))


# --- thresholds

def test_above_does_not_include():
    assert torch.equal(f1_by_thresh(*FOUR, tensor([.6])), f1_by_thresh(*FOUR, tensor([.7])))
    assert f1_by_thresh(*FOUR, tensor([.3,.5,.7])).shape==(3,1)


def test_threshs_are_a_row_of_numbers():
    with pytest.raises(ValueError, match='n_threshs'): f1_by_thresh(*FOUR, .5)
    with pytest.raises(ValueError, match='nan'): f1_by_thresh(*FOUR, [NAN])


def test_best_threshs():
    tied = tensor([[.8],[.6],[.6],[.2]]),tensor([[1],[1],[0],[0]])
    assert close(best_threshs(*FOUR), [.3])
    assert close(best_threshs(*tied), [.4])                    # equal scores go together
    assert close(best_threshs(FOUR[0], FOUR[1]*0), [.5])       # no positives: nothing to choose from
    assert best_threshs(tensor([[-1e30]]), tensor([[1]]))<-1e30 # a logit of any size is let in


def test_no_grid_does_better(scored):
    best = best_threshs(*scored)
    chosen = precision_recall_f1(*scored, best)[:,2]
    assert (chosen>=f1_by_thresh(*scored, torch.linspace(.01, .99, 99)).amax(0)-1e-6).all()


# --- stored tables

def test_stored_table_of_photos():
    "Every label of every network, and means that are those of its labels"
    voc = pd.read_csv(RESULTS/'05_voc.csv')
    for _,rows in voc.groupby(['method','seed']):
        labels,mean = rows[rows.label!='mean'],rows[rows.label=='mean'].iloc[0]
        assert len(labels)==labels.label.nunique()==20
        assert (labels.yes.sum(),set(rows.photos))==(mean.yes,{987})
        for column in 'ap','clear_ap','f1','f1_own': assert abs(labels[column].mean()-mean[column])<2e-4
        assert mean.ap_error<labels.ap_error.max()


def test_stored_table_of_animals():
    "A network is asked about 500 pictures of each kind; of one breed it can't name two"
    table = pd.read_csv(RESULTS/'05_animals.csv')
    shares = table[[f'names {k}' for k in range(3)]]
    assert np.allclose(shares.sum(axis=1), 1, atol=2e-4)
    assert np.allclose(shares*500, (shares*500).round(), atol=.06)
    assert (table[table['animals in the picture']==1]['names 2']==0).all()
