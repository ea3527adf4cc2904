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


def test_weights_at_hand(random_weights): assert fetch_weights('squeezenet1_0') is None


def test_rubbish_in_place_of_weights(random_weights, tmp_path, monkeypatch):
    "Where the file should be, under its name"
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    file = tmp_path/'hub/checkpoints'/random_weights.name
    file.parent.mkdir(parents=True)
    file.write_bytes(b'rubbish')
    said = fetch_weights('squeezenet1_0')
    assert 'squeezenet1_0' in said
    assert file.name in said


def test_download_refused(tmp_path, monkeypatch):
    "Without a network it says so, and leaves no half file"
    def refuse(*args, **kwargs): raise OSError('connection refused')
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    assert 'connection refused' in fetch_weights('mobilenet_v3_small')
    assert not [o for o in tmp_path.rglob('*') if o.is_file()]
