"Class maps held against pytorch-grad-cam, and the contract of the pointing game"
import warnings
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from mlc_course.cam import cam, class_maps, fine_cnn, grad_cam, linear_of, peaks, pointing_game, show_maps
from mlc_course.sigmoid import MultiLabelHead, small_cnn
from mlc_course.engine.networks import build_model


def fastai_net(n_classes):
    "What `vision_learner` trains: SqueezeNet's body and fastai's own head"
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated', category=FutureWarning)
        from fastai.vision.all import create_vision_model, squeezenet1_0
    return create_vision_model(squeezenet1_0, n_classes, pretrained=False)


@pytest.fixture(params=['linear', 'fastai', 'package', 'torchvision'])
def net(request):
    torch.manual_seed(0)
    if request.param=='linear': res = fine_cnn(4)
    elif request.param=='fastai': res = fastai_net(4)
    elif request.param=='package': res = build_model('efficientnet_lite2', 4, weights='DEFAULT')
    else: res = build_model('squeezenet1_0', 4)
    weighted = nn.Linear,nn.BatchNorm1d,nn.BatchNorm2d
    with torch.no_grad(): # else every map of a fresh network is nearly constant
        for m in res.modules():
            if isinstance(m, weighted): m.weight.add_(torch.randn_like(m.weight)*.3).mul_(3)
    return res.double().eval()


@pytest.fixture
def xb(): return torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize('label', range(4))
def test_as_pytorch_grad_cam(net, xb, label):
    "Raw, and after that library's cutting and stretching, on the same layer"
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    ours = grad_cam(net, xb, [label])[:,0].numpy()
    targets = [ClassifierOutputTarget(label)]*len(xb)
    with GradCAM(model=net, target_layers=[net[0]]) as theirs:
        stretched = theirs(input_tensor=xb, targets=targets) # scaled up to the picture, each to 0..1
        kept = theirs.activations_and_grads
        acts,grads = [o[0].cpu().data.numpy() for o in (kept.activations, kept.gradients)]
        raw = theirs.get_cam_image(xb, net[0], targets, acts, grads, False)
        scaled = theirs.compute_cam_per_layer(xb, targets, False)[0][:,0]
    assert np.ptp(raw)>1e-2 # there is something to compare
    assert stretched.shape==(3,96,96)
    assert np.abs(ours-raw).max() < 1e-4
    from pytorch_grad_cam.utils.image import scale_cam_image
    assert np.abs(scale_cam_image(np.maximum(ours, 0), (96,96))-scaled).max() < 1e-4


def test_linear_head_is_exact(xb):
    net = fine_cnn(4).double().eval()
    maps = cam(net, xb)
    assert maps.shape==(3,4,12,12)
    with torch.no_grad(): assert torch.allclose(maps.mean((2,3))+net[1][-1].bias, net(xb), atol=1e-5)
    assert torch.allclose(grad_cam(net, xb)*144, maps, atol=1e-4)


@pytest.mark.parametrize('layers', [
    [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4,2)],
    [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16,2)],
    [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU(), nn.Linear(4,2)],
    [nn.Flatten(), nn.Linear(4,2)]])
def test_other_heads_are_refused(layers):
    with pytest.raises(ValueError, match='use grad_cam'): linear_of(nn.Sequential(*layers))


def test_package_head_is_refused_and_grad_cam_works(xb):
    net = build_model('efficientnet_lite2', 4).double().eval()
    with pytest.raises(ValueError, match='RootPool'): cam(net, xb)
    assert grad_cam(net, xb, [2]).shape[:2]==(3,1)
    assert isinstance(small_cnn(5)[1], MultiLabelHead)
    assert linear_of(small_cnn(5)[1]).out_features==5


def test_grad_cam_leaves_no_gradients(xb):
    net = fine_cnn(2).double().eval()
    grad_cam(net, xb)
    assert all(p.grad is None for p in net.parameters())


def box(**kw): return pd.DataFrame([dict(dict(item=0, label='a', x1=0., y1=0., x2=.5, y2=.5), **kw)])


POINTS = [(.25,.25,True), (0.,0.,True), (.5,.25,False), (.25,.5,False), (.75,.75,False)]


@pytest.mark.parametrize('x,y,hit', POINTS)
def test_pointing_hits(x, y, hit):
    game = pointing_game(torch.tensor([[[x,y]]]), box(), ['a'])
    assert game.hit.tolist()==[hit]
    assert abs(game.chance[0]-.25)<.01


def test_peak_of_rows_and_columns():
    maps = torch.zeros(2, 1, 3, 5)
    maps[0,0,2,1] = maps[1,0,0,4] = 1
    assert torch.allclose(peaks(maps)[:,0], torch.tensor([[.3,5/6],[.9,1/6]]))


def test_random_points_hit_by_chance():
    gen = torch.Generator().manual_seed(0)
    objects = pd.concat([box(item=i, x1=.2, x2=.8, y1=.1, y2=.6) for i in range(2000)])
    game = pointing_game(torch.rand(2000, 1, 2, generator=gen), objects, ['a'])
    assert abs(game.hit.mean()-.3)<.035
    assert abs(game.chance.mean()-.3)<.01


def test_nothing_found_has_words():
    args = np.zeros((8,8,3), np.uint8), torch.rand(2,2,2), torch.tensor([.9,.1]), ['a','b']
    axs = show_maps(*args, thresh=torch.tensor([.5,.05]))
    assert [len(ax.texts) for ax in axs]==[0,0]               # per-label thresholds: both were found
    axs = show_maps(*args)
    assert [len(ax.texts) for ax in axs]==[0,1]
    assert axs[1].texts[0].get_text()=='nothing found'


def test_fine_cnn_is_a_small_cnn():
    "The same weights from the same seed, under the same names"
    torch.manual_seed(0)
    fine = fine_cnn(3, (4,8), (2,1)).state_dict()
    torch.manual_seed(0)
    small = small_cnn(3, (4,8), (2,2)).state_dict()
    assert list(fine)==list(small)
    for k,v in fine.items(): assert torch.equal(v, small[k])


@pytest.mark.parametrize('feats,weight', [((2,3,4),(2,3)), ((1,3,4,4),(2,4)), ((1,3,4,4),(3,))])
def test_shapes_are_named(feats, weight):
    with pytest.raises(ValueError, match='feats must be'):
        class_maps(torch.zeros(feats), torch.zeros(weight))
