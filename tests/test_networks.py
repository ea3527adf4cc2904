"Networks are cut in two without another answer, and weights are fetched whole or not at all"
import urllib.request
import pytest, torch
from mlc_course.engine.networks import build_model, fetch_weights, split_body


@pytest.mark.parametrize('arch',
    ['small_cnn', 'squeezenet1_0', 'resnet18', 'mobilenet_v3_small', 'densenet121'])
def test_split_body(arch):
    x = torch.rand(1, 3, 64, 64)
    body = build_model(arch, 2)[0].eval()
    stem,tail = split_body(body)
    assert len(stem)
    assert len(tail)
    torch.testing.assert_close(tail(stem(x)), body(x))


def test_download_refused(tmp_path, monkeypatch):
    "Without a network it says so, and leaves no half file"
    def refuse(*args, **kwargs): raise OSError('connection refused')
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    assert 'connection refused' in fetch_weights('mobilenet_v3_small')
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]
