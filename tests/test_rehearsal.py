"Labels that play the unknown one: who trains and who does not, what is told of it, and what it decides"
import math
import pytest, torch
from torch import nn
from conftest import config_of, draw, untrained
from mlc_course.classifier import Classifier, fitted_classifier
from mlc_course.engine import rehearsal as module
from mlc_course.engine.decision import Decision
from mlc_course.engine.evaluation import Told
from mlc_course.engine.networks import ARCHS, RootHead
from mlc_course.engine.rehearsal import (RULES, Rehearsal, Round, best_rule, min_left_out, play, rehearse,
    rounds_of, separation, tell)
from mlc_course.engine.training import Fitted, Parts, cross_fit, fit_head, judge
from mlc_course.ui.cli import mlc_evaluate
from mlc_course.unknown import auroc, knn_score


def made_up(n_classes=4, n_each=30, n_unlabelled=20, seed=0, n_feat=8, noise=.4, both=.1, opposite=False):
    """Features around a corner for each label, and 0/1 targets; some pictures have two labels. Those without
    have a corner of their own, or lie where nothing is, far from all labels"""
    gen = torch.Generator().manual_seed(seed)
    corners = torch.eye(n_feat)
    column = torch.arange(n_classes).repeat(n_each)
    targets = torch.eye(n_classes)[column]
    two = torch.rand(len(column), generator=gen)<both
    targets[two,(column[two]+1)%n_classes] = 1
    own = -corners[:n_classes].sum(0) if opposite else corners[-1]
    feats = torch.cat([targets@corners[:n_classes], own.expand(n_unlabelled, -1)])
    feats = feats+.5+noise*torch.randn(feats.shape, generator=gen)
    targets = torch.cat([targets, torch.zeros(n_unlabelled, n_classes)])
    order = torch.randperm(len(feats), generator=gen)
    return feats[order], targets[order]


# --- who trains

@pytest.fixture
def heads(monkeypatch):
    "What `judge` was called with, round by round"
    calls, judge = [], module.judge
    def spy(feats, targets, others, *args):
        calls.append((feats, targets, others))
        return judge(feats, targets, others, *args)
    monkeypatch.setattr(module, 'judge', spy)
    return calls


def numbered(feats, some): return sorted((feats[:,None]==some).all(2).nonzero()[:,0].tolist())


@pytest.mark.parametrize('teach', [True, False])
@pytest.mark.parametrize('n_classes', [4, 15])
def test_who_trains(heads, teach, n_classes):
    "Never a picture that has only labels left out, nor one that is judged; all others do"
    feats, targets = made_up(n_classes, n_feat=20)
    res = rehearse(feats, targets, teach)
    assert len(res.rounds)==len(heads)==min(n_classes, 12)
    known, judged_before = targets.bool().any(1), []
    for o,(x,y,others) in zip(res.rounds, heads):
        stay = [c for c in range(n_classes) if c not in o.labels]
        still = targets[:,stay].bool().any(1)
        trains, judged = numbered(feats, x), numbered(feats, others)
        assert not set(trains) & set(judged)
        left_out = set((known & ~still).nonzero()[:,0].tolist())
        assert left_out<=set(judged)
        assert o.known.tolist()==[i not in left_out for i in judged_in_order(feats, others)]
        held = set(judged)-left_out
        assert all(still[i] for i in held)
        everyone = set(range(len(feats))) if teach else set(known.nonzero()[:,0].tolist())
        assert set(trains)==everyone-left_out-held
        assert y.shape==(len(trains), len(stay))
        judged_before.append(held)
    for i,a in enumerate(judged_before):
        for b in judged_before[max(0, i-4):i]: assert not a & b # another fifth of the pictures, five times


def judged_in_order(feats, some): return [numbered(feats, o[None])[0] for o in some]


@pytest.mark.parametrize('seed', range(3))
def test_who_is_judged_teaches_nothing(seed):
    "Whatever the pictures left out look like, the known ones score the same; and the other way round"
    feats, targets = made_up(seed=seed)
    gen = torch.Generator().manual_seed(seed)
    held = torch.rand(len(feats), generator=gen)<.2
    known = targets.bool().any(1)
    still = targets[:,[0,1,3]].bool().any(1)
    usual = play(feats, targets, (2,), held)
    for spoilt,who in ((known & ~still, usual.known), (held & still, ~usual.known)):
        odd = feats.clone()
        odd[spoilt] = 50*torch.rand(int(spoilt.sum()), feats.shape[1], generator=gen)
        res = play(odd, targets, (2,), held)
        for name,scores in usual.parts.items():
            assert (scores[who]==res.parts[name][who]).all()
            assert not (scores[~who]==res.parts[name][~who]).any()


def test_without_a_lesson_pictures_without_label_are_not_there():
    feats, targets = made_up()
    known = targets.bool().any(1)
    odd = feats.clone()
    odd[~known] = 99.
    a, b = (rehearse(o, targets, teach=False) for o in (feats, odd))
    for x,y in zip(a.rounds, b.rounds, strict=True):
        for name in x.parts: assert (x.parts[name]==y.parts[name]).all()
    taught, odd = (rehearse(o, targets) for o in (feats, odd))
    assert taught.quality('joint_energy')!=odd.quality('joint_energy')


@pytest.mark.parametrize('n', [3, 7, 12, 13, 30, 100])
def test_rounds(n):
    "Each label is left out once; of many, several at once, as equally many as can be"
    turns = rounds_of(torch.ones(1, n))
    assert len(turns)==min(n, 12)
    assert sorted(sum(turns, ()))==list(range(n))
    sizes = list(map(len, turns))
    assert max(sizes)-min(sizes)<=1
    if n>12: assert turns!=rounds_of(torch.ones(1, n), seed=1)


@pytest.mark.parametrize('n_classes', [1, 2])
def test_too_few_labels(n_classes):
    feats, targets = made_up(n_classes)
    res = rehearse(feats, targets)
    assert res==Rehearsal()
    assert tell(res, RULES[0]) is None
    assert math.isnan(res.quality('knn'))


@pytest.mark.parametrize('n,plays', [(min_left_out, True), (min_left_out-1, False)])
def test_too_few_pictures(n, plays):
    "A round needs a few of either kind, else there is none"
    feats, targets = made_up(3, 20, both=0)
    held = torch.zeros(len(feats)).bool()
    held[targets[:,0].nonzero()[:n,0]] = True
    assert bool(play(feats, targets, (2,), held))==plays
    few = torch.ones(len(feats)).bool()
    few[targets[:,2].nonzero()[n:,0]] = False
    assert bool(play(feats[few], targets[few], (2,), targets[few,0]==1))==plays


# --- what is told

@pytest.fixture(scope='module')
def rehearsed(): return rehearse(*made_up(noise=.7))


@pytest.mark.parametrize('name', RULES)
def test_tell(rehearsed, name):
    "The more has to be kept, the less is silent; at 1 nothing is; counted by hand"
    told = tell(rehearsed, name)
    assert told.n_labels==4
    for column in told.mean, told.lowest, told.highest:
        assert len(column)==100
        assert list(column)==sorted(column, reverse=True)
        assert column[-1]==0<column[0]
    assert all(a<=b<=c for a,b,c in zip(told.lowest, told.mean, told.highest))
    scores = [(o.score(name), o.known) for o in rehearsed.rounds]
    both = sorted(torch.cat([s[known] for s,known in scores]).tolist())
    for keep in .5, .9, .95:
        cut = both[math.floor((1-keep)*(len(both)+1)+1e-9)-1]
        silent = [(s[~known]<cut).float().mean().item() for s,known in scores]
        assert told.mean[round(keep*100)-1]==pytest.approx(sum(silent)/4, abs=1e-4)
        assert told.lowest[round(keep*100)-1]==pytest.approx(min(silent), abs=1e-4)
        assert f'{told.mean[round(keep*100)-1]:.0%}' in told.says(keep)
    found = [auroc(s[known], s[~known]) for s,known in scores]
    assert rehearsed.quality(name)==pytest.approx(sum(found)/4)


def test_saved_and_printed(tmp_path, pets, capsys):
    "What a model was told stands in its file, and `mlc_evaluate` repeats it; an older one says nothing"
    told = Told(3, *([o/100]*100 for o in (40,30,60)))
    for facts,said in ((dict(rehearsal=told._asdict()), told.says(.95)), ({}, '')):
        clf = untrained(vocab=('Siamese','pug','car'), facts=facts)
        again = Classifier.load(clf.save(tmp_path/'m'))
        assert again.config==clf.config
        mlc_evaluate(tmp_path/'m', pets)
        out = capsys.readouterr().out
        assert ('told in training' in out)==bool(said)
        assert said in out
        mlc_evaluate(tmp_path/'m', pets, json=True)
        assert 'told' not in capsys.readouterr().out


@pytest.fixture(scope='module')
def three(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('photos')/'three', ['Siamese','pug','car'], 20)


@pytest.fixture(scope='module')
def trained_on_three(three):
    said = []
    return Classifier.train(three, size=64, say=said.append), said


def test_training_rehearses(trained_on_three, three, tmp_path, capsys):
    "Three labels on a frozen body: told in training, saved, told again"
    clf, said = trained_on_three
    told = Told(**clf.config['rehearsal'])
    assert told.n_labels==3
    line = f'rehearsal, {clf.decision.keep:.0%} of known pictures answered: {told.says(clf.decision.keep)}'
    assert said[said.index(line)+1:][:3]==[f'  {o}' for o in told.prices()]
    clf.save(tmp_path/'m')
    assert Told(**config_of(tmp_path/'m')['rehearsal']).says(.9)==told.says(.9)
    mlc_evaluate(tmp_path/'m', three)
    assert capsys.readouterr().out.splitlines()[-1]==f'told in training: {told.says(clf.decision.keep)}'
    again = Classifier.load(tmp_path/'m')
    assert again.decision==clf.decision
    assert again.predict(three)==clf.predict(three)


@pytest.mark.parametrize('arch', ['efficientnet_lite2','small_cnn'])
def test_a_body_that_has_seen_them_rehearses_nothing(three, arch):
    said = []
    clf = Classifier.train(three, arch, size=64, epochs=1, say=said.append)
    assert clf.config['rehearsal'] is None
    assert not [o for o in said if 'rehearsal' in o]


# --- what it decides

def a_round(gaps, seed, n=2000):
    "Known pictures score higher, by a gap for each part"
    gen = torch.Generator().manual_seed(seed)
    known = torch.arange(n)<n//2
    return Round((0,), {name: torch.randn(n, generator=gen)+gap*known for name,gap in gaps.items()}, known)


@pytest.mark.parametrize('energy,knn,name', [
    (2., 2., 'joint_energy+knn'), (4., -3., 'joint_energy'), (-3., 4., 'knn'), (0., 0., 'joint_energy+knn')])
def test_best_rule(energy, knn, name):
    "The best in rehearsal, among pictures without label, or in both; of those that are as good the first"
    gaps = dict(joint_energy=energy, knn=knn)
    rounds, seen = Rehearsal((a_round(gaps, 0), a_round(gaps, 1))), a_round(gaps, 2)
    all_known = torch.ones(2000).bool()
    if energy or knn:
        assert best_rule(rounds, seen.parts, all_known)==name
        assert best_rule(Rehearsal(), seen.parts, seen.known)==name
        assert best_rule(rounds, seen.parts, seen.known)==name
    assert best_rule(Rehearsal(), seen.parts, all_known)==RULES[0]
    assert best_rule(rounds, {}, torch.zeros(0).bool())==RULES[0]
    quality = separation(name, rounds, seen.parts, seen.known)
    alone = separation(name, Rehearsal(), seen.parts, seen.known)
    assert quality==pytest.approx((rounds.quality(name)+alone)/2)


def test_nearly_as_good_is_good_enough():
    "A rule takes over if it is better by more than 0.005"
    for lead,name in ((.004, 'joint_energy+knn'), (.006, 'knn')):
        quality = {'joint_energy+knn': .9, 'joint_energy': .8, 'knn': .9+lead}
        with pytest.MonkeyPatch.context() as m:
            m.setattr(module, 'separation', lambda name, *args: quality[name])
            seen = a_round(dict(joint_energy=0, knn=0), 0)
            assert best_rule(Rehearsal(), seen.parts, seen.known)==name


def after_training(feats, targets, frozen=True):
    "A classifier as it comes out of training by turns on these features, and the lines said"
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), RootHead(feats.shape[1], targets.shape[1])).eval()
    fit_head(model[1][-1], feats, targets)
    folds = torch.randperm(len(feats), generator=torch.Generator().manual_seed(1))%5
    fitted = Fitted(feats, feats[:0], torch.zeros(0, targets.shape[1]))
    facts = ARCHS['small_cnn'].facts(False)
    config = dict(arch='small_cnn', size=32, **facts, rare=[], training=dict(seed=0))
    said, vocab = [], [f'l{i}' for i in range(targets.shape[1])]
    parts = Parts(targets, targets[:0])
    clf = fitted_classifier(model, fitted, parts, vocab, .9, config, folds, 'cpu', frozen, said.append)
    return clf, said, folds


def quality(feats, targets, folds, teach):
    "How well known and unknown are told apart, with the lesson and without"
    seen = rehearse(feats, targets, teach), cross_fit(feats, targets, folds, teach=teach)[1]
    return max(separation(o, *seen, targets.bool().any(1)) for o in RULES)


# Pictures without label that look like a thing of their own; and such as are the opposite of all labels, and
# told apart without a lesson: from them the heads learn to take everything else for known
LESSONS = {
    'helps': (dict(n_unlabelled=40, noise=.5), True),
    'harms': (dict(n_unlabelled=40, noise=.3, opposite=True), False)}


@pytest.mark.parametrize('lesson', LESSONS)
@pytest.mark.parametrize('seed', range(3))
def test_lesson(lesson, seed):
    "Pictures without label teach or are left out, as `separation` says: head, decision and all"
    how, taken = LESSONS[lesson]
    feats, targets = made_up(seed=seed, **how)
    clf, said, folds = after_training(feats, targets)
    known = targets.bool().any(1)
    good, bad = (quality(feats, targets, folds, o) for o in (True, False))
    assert (good>=bad)==taken, (good, bad)
    line, = (o for o in said if 'known against unknown' in o)
    assert ('teach silence' in line, 'left out of the lesson' in line)==(taken, not taken)
    assert f'{good:.3f} with it, {bad:.3f} without' in line
    teachers = torch.ones(len(feats)).bool() if taken else known
    head = fit_head(nn.Linear(feats.shape[1], 4), feats[teachers], targets[teachers])
    assert head.weight.equal(clf.model[1][-1].weight)
    rehearsal = rehearse(feats, targets, taken)
    logits, parts = cross_fit(feats, targets, folds, teach=taken)
    name = best_rule(rehearsal, parts, known)
    prior = targets[known].mean(0)
    assert clf.decision==Decision.fit(clf.vocab, .9, logits, parts, targets, name, prior)
    assert clf.config['rehearsal']==tell(rehearsal, name)._asdict()


def test_no_lesson_to_weigh():
    "Without pictures without label, without rounds, or with a body that has learned from the pictures"
    feats, targets = made_up(n_unlabelled=0)
    assert not [o for o in after_training(feats, targets)[1] if 'known against unknown' in o]
    for n_classes,frozen in ((2, True), (4, False)):
        clf, said, _ = after_training(*made_up(n_classes), frozen)
        assert not [o for o in said if 'known against unknown' in o]
        assert clf.config['rehearsal'] is None


@pytest.mark.parametrize('lesson', LESSONS)
def test_lesson_beside_validation_pictures(lesson):
    "The same where other pictures validate: the head that is kept is the one that was judged"
    how, taken = LESSONS[lesson]
    feats, targets = made_up(**how)
    valid = torch.rand(len(feats), generator=torch.Generator().manual_seed(1))<.4
    train = ~valid
    model = nn.Sequential(nn.Identity(), RootHead(feats.shape[1], targets.shape[1])).eval()
    head = fit_head(model[1][-1], feats[train], targets[train])
    with torch.no_grad(): logits = head(feats[valid])
    facts = ARCHS['small_cnn'].facts(False)
    config = dict(arch='small_cnn', size=32, **facts, rare=[], training=dict(seed=0))
    fitted, said = Fitted(feats[train], feats[valid], logits), []
    parts = Parts(targets[train], targets[valid])
    vocab = [f'l{i}' for i in range(targets.shape[1])]
    clf = fitted_classifier(model, fitted, parts, vocab, .9, config, None, 'cpu', True, said.append)
    line, = (o for o in said if 'known against unknown' in o)
    assert ('teach silence' in line, 'left out of the lesson' in line)==(taken, not taken)
    teachers = train if taken else train & targets.bool().any(1)
    wanted = fit_head(nn.Linear(feats.shape[1], targets.shape[1]), feats[teachers], targets[teachers])
    assert wanted.weight.equal(clf.model[1][-1].weight)


def test_as_many_references_as_a_classifier_keeps():
    "Whoever validates by turns is compared with no more pictures than a new one will be"
    gen = torch.Generator().manual_seed(0)
    feats = torch.randn(2600, 4, generator=gen)
    targets = torch.eye(2)[torch.arange(2600)%2]
    _, parts = judge(feats[:2500], targets[:2500], feats[2500:], 2500)
    near = parts['knn'].mean()
    drawn = feats[:2500][torch.randperm(2500, generator=torch.Generator().manual_seed(0))[:2000]]
    assert near==knn_score(feats[2500:], drawn, 10).mean()
    assert near<knn_score(feats[2500:], feats[:2500], 10).mean()
