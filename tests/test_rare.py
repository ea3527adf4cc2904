"Losses held against timm, the split against its promise, the atlas against broken folders"
import numpy as np
import pytest
import torch
from PIL import Image
from mlc_course.draw.cells import atlas_targets, draw_cell, drawn_atlas, load_item, read_atlas
from mlc_course.engine.folds import seeded_folds
from mlc_course.rare import asymmetric_loss, focal_loss, stratified_split, widen_conv


@pytest.fixture(params=range(4))
def batch(request):
    gen = torch.Generator().manual_seed(request.param)
    z = (torch.randn(16, 28, generator=gen)*[1,5,15,40][request.param]).requires_grad_()
    return z, (torch.rand(16, 28, generator=gen)<.1).float()


def grads(loss, z): return torch.autograd.grad(loss, z)[0]


@pytest.mark.parametrize('gamma_neg,gamma_pos,clip', [(4,1,.05), (4,0,.05), (2,2,0.), (0,0,0.)])
def test_asymmetric_as_timm(batch, gamma_neg, gamma_pos, clip):
    "timm sums over classes where we average, and clamps probabilities at 1e-8: equal until there"
    from timm.loss import AsymmetricLossMultiLabel
    z,t = batch
    theirs = AsymmetricLossMultiLabel(gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip)(z, t) / z.shape[1]
    ours = asymmetric_loss(z, t, gamma_neg, gamma_pos, clip)
    if z.abs().max()<15: # beyond, float32 has no 1-p left for timm's logarithm
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
        assert torch.allclose(grads(ours, z), grads(theirs, z), rtol=1e-3, atol=1e-6)
    assert ours.isfinite()
    assert grads(asymmetric_loss(z, t, gamma_neg, gamma_pos, clip), z).isfinite().all()


def test_asymmetric_defaults_are_timms():
    import inspect
    from timm.loss import AsymmetricLossMultiLabel
    want = {k: v.default for k,v in inspect.signature(AsymmetricLossMultiLabel.__init__).parameters.items()}
    have = {k: v.default for k,v in inspect.signature(asymmetric_loss).parameters.items()}
    for k in ('gamma_neg','gamma_pos','clip'): assert have[k]==want[k]


@pytest.mark.parametrize('loss', [focal_loss, asymmetric_loss])
@pytest.mark.parametrize('yes', (0.,1.))
def test_losses_at_the_ends(loss, yes):
    z = torch.tensor([[-100.,-20.,0.,20.,100.]], requires_grad=True)
    res = loss(z, torch.full((1,5), yes))
    assert res.isfinite()
    assert grads(res, z).isfinite().all()


@pytest.mark.parametrize('seed', range(5))
def test_split_is_even(seed):
    "Every label within one item of its share, part sizes within a few, over skewed random targets"
    gen = torch.Generator().manual_seed(seed)
    t = (torch.rand(1000, 12, generator=gen) < torch.logspace(-2.3,-.4,12)).float()
    shares = (.7,.2,.1)
    part = stratified_split(t, shares, seed)
    n = torch.stack([t[part==j].sum(0) for j in range(3)])
    want = torch.tensor(shares)[:,None]*t.sum(0)
    rarest = t.sum(0).argmin()
    assert (n-want).abs()[:,rarest].max()<=1
    assert ((n-want).abs()/want.clamp_min(5)).max()<.35
    for j,s in enumerate(shares): assert abs((part==j).sum().item()-1000*s)<=12


def test_split_keeps_what_random_loses():
    t = torch.zeros(400, 20)
    t[torch.arange(80), torch.arange(80)%20] = 1 # four items a label
    part = stratified_split(t, (.75,.25), 0)
    assert (t[part==1].sum(0)==1).all()
    for seed in range(20):
        drawn = torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:100]
        assert (t[drawn].sum(0)==0).any()


@pytest.mark.parametrize('seed', range(4))
def test_training_splits_as_the_lesson_does(seed):
    "`engine.folds`, which is quick, shares labels out as evenly as the split that chapter 10 derives"
    gen = torch.Generator().manual_seed(seed)
    t = (torch.rand(600, 15, generator=gen) < torch.logspace(-2,-.4,15)).float()
    labels = [[str(k) for k in row.nonzero().flatten().tolist()] for row in t]
    def worst(part):
        n = torch.stack([t[part==j].sum(0) for j in range(5)])
        return (n-t.sum(0)/5).abs().amax(0)
    quick = worst(torch.tensor(seeded_folds(labels, seed, 5)))
    derived = worst(stratified_split(t, (.2,)*5, seed))
    drawn = worst(torch.arange(600)[torch.randperm(600, generator=gen)]%5)
    assert quick.mean()<=derived.mean()+.25
    assert quick.max()<=derived.max()+1
    assert quick.mean()<drawn.mean()/2


def test_widened_pretrained_body_answers_as_before(shared, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(shared/'weights'))
    from torchvision.models import squeezenet1_0
    net = squeezenet1_0(weights='DEFAULT').eval()
    grey = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = net(grey.expand(-1,3,-1,-1))
        net.features[0] = widen_conv(net.features[0], 4)
        assert torch.allclose(net(grey.expand(-1,4,-1,-1)), before, atol=1e-3)


@pytest.fixture(scope='module')
def atlas(tmp_path_factory): return drawn_atlas(12, 24, seed=3, path=tmp_path_factory.mktemp('atlas'))


def test_atlas_is_the_same_each_time(atlas, tmp_path):
    again = drawn_atlas(12, 24, seed=3, path=tmp_path)
    files = sorted(p.relative_to(atlas) for p in atlas.rglob('*.*'))
    assert len(files)==49
    assert all((again/f).read_bytes()==(atlas/f).read_bytes() for f in files)
    df = read_atlas(atlas)
    assert atlas_targets(df).sum(1).min()>=1
    assert load_item(atlas, df.Id[0]).shape==(4,24,24)


def test_broken_folders_are_named(tmp_path):
    root = drawn_atlas(3, 24, path=tmp_path)
    item = read_atlas(root).Id[0]
    Image.fromarray(np.zeros((9,9), np.uint8)).save(root/'train'/f'{item}_yellow.png')
    with pytest.raises(ValueError, match='yellow.png is 9x9'): load_item(root, item)
    (root/'train'/f'{item}_red.png').write_text('no picture')
    with pytest.raises(ValueError, match='red.png'): load_item(root, item)
    for bad in ('28', '-1', 'x', '²'):
        (root/'train.csv').write_text(f'Id,Target\na,{bad}\n', encoding='utf-8')
        with pytest.raises(ValueError, match='not a class from 0 to 27'): read_atlas(root)
    (root/'train.csv').write_text('Name,Target\na,1\n')
    with pytest.raises(ValueError, match='lacks Id'): read_atlas(root)
    with pytest.raises(ValueError, match='class 28'): draw_cell([28], 0)
