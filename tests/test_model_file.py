"A model folder appears whole or not at all, and reading it believes nothing"
import hashlib, os
import pytest, torch
from conftest import config_of, names, tree
from mlc_course.classifier import Classifier
from mlc_course.engine.core import InputError
from mlc_course.engine.model_file import check_dest, content_keys


@pytest.fixture
def folder(blank, tmp_path): return blank.save(tmp_path/'m')


def test_loaded_is_saved(blank, folder, pets):
    again = Classifier.load(folder)
    assert (again.decision, again.config)==(blank.decision, blank.config)
    assert again.predict(pets)==blank.predict(pets)


def test_saved_as_the_format_says(folder):
    "The library of the format reads the same numbers that we read ourselves"
    from safetensors.torch import load_file
    theirs = load_file(folder/'model.safetensors')
    ours = Classifier.load(folder)
    assert (theirs.pop('references')==ours.refs).all()
    assert theirs.pop('trained').equal(ours.trained)
    state = ours.model.state_dict()
    assert theirs.keys()==state.keys()
    assert all((v==state[k]).all() for k,v in theirs.items())


def test_save(blank, tmp_path):
    "It replaces itself, and leaves nothing behind"
    for _ in range(2): blank.save(tmp_path/'deep/er/m')
    assert names(tmp_path/'deep/er')==['m']
    assert names(tmp_path/'deep/er/m')==['config.json','model.safetensors']


@pytest.mark.parametrize('dest', ['photos', 'file', 'file/m', 'm'])
def test_save_refuses(blank, folder, tmp_path, dest):
    "What is not ours stays, also beside a model"
    (tmp_path/'photos').mkdir()
    for o in 'photos/a.txt', 'file', 'm/notes.txt': (tmp_path/o).write_text('mine')
    before = tree(tmp_path)
    with pytest.raises(InputError, match=dest): blank.save(tmp_path/dest)
    assert tree(tmp_path)==before


def test_save_fails_whole(blank, folder, monkeypatch):
    "A full disk leaves the old model, and no rubbish"
    before = tree(folder.parent)
    def full(fd): raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(InputError, match=f'{folder} cannot be written .*No space left'): blank.save(folder)
    assert tree(folder.parent)==before


def test_check_dest(tmp_path):
    (tmp_path/'empty').mkdir()
    assert check_dest(tmp_path/'empty')==check_dest(tmp_path/'empty/../empty')


def test_other_keep_is_saved(blank, pets, tmp_path):
    careful = blank.with_keep(.74)
    again = Classifier.load(careful.save(tmp_path/'m'))
    assert again.decision==careful.decision
    assert again.predict(pets)==careful.predict(pets)


@pytest.mark.parametrize('share', [0, .001, .5, 1])
def test_damaged_weights(folder, share):
    file = folder/'model.safetensors'
    data = bytearray(file.read_bytes())
    data[int(share*(len(data)-1))] ^= 0xff
    file.write_bytes(data)
    with pytest.raises(InputError, match=file.name): Classifier.load(folder)


# --- what trained it

@pytest.fixture(scope='module')
def knowing(blank, pets):
    "An untrained classifier that claims to have learned from some pictures"
    keys = content_keys(sorted(pets.iterdir()))
    return Classifier(blank.model, blank.decision, blank.refs, blank.config, trained=keys)


def test_trained_pictures_are_saved(knowing, tmp_path):
    "And stay with a model that is asked in another way"
    again = Classifier.load(knowing.save(tmp_path/'m'))
    assert len(again.trained)==24
    for o in again, again.with_keep(.5), again.with_threshs(dict(cat=.7)):
        assert o.trained.equal(knowing.trained)


def test_eight_bytes_a_picture(blank, tmp_path):
    "A hundred thousand photos cost 0.8 MB"
    def size(n):
        clf = Classifier(blank.model, blank.decision, blank.refs, blank.config, trained=torch.arange(n))
        return (clf.save(tmp_path/str(n))/'model.safetensors').stat().st_size
    assert 800_000<=size(100_000)-size(0)<801_000


def as_format_4(folder):
    "What the package wrote before it remembered pictures"
    from safetensors.torch import load_file, save_file
    file = folder/'model.safetensors'
    state = load_file(file)
    del state['trained']
    save_file(state, file)
    config = config_of(folder)
    for o in 'asked', 'missed': del config[o]
    rewrite(folder, config | dict(format='mlc_course model 4'))


def rewrite(folder, config):
    import json
    data = (folder/'model.safetensors').read_bytes()
    config['weights_sha256'] = hashlib.sha256(data).hexdigest()
    (folder/'config.json').write_text(json.dumps(config))


def test_format_4(knowing, pets, tmp_path):
    "Older models load, and know of no picture; saved again they are of format 6"
    folder = knowing.save(tmp_path/'m')
    as_format_4(folder)
    again = Classifier.load(folder)
    assert (again.decision, len(again.trained))==(knowing.decision, 0)
    assert again.predict(pets)==knowing.predict(pets)
    again.save(folder)
    assert config_of(folder)['format']=='mlc_course model 6'
    assert Classifier.load(folder).predict(pets)==knowing.predict(pets)


@pytest.mark.parametrize('value', [None, torch.tensor([2,1]), torch.tensor([1,1]), torch.tensor([[1,2]]),
    torch.tensor([1,2], dtype=torch.int32), torch.tensor([1.,2.]), torch.tensor(1)], ids=str)
def test_hostile_pictures(knowing, tmp_path, value):
    "Missing, falling, twice the same, or of another form: one line"
    from safetensors.torch import load_file, save_file
    folder = knowing.save(tmp_path/'m')
    state = load_file(folder/'model.safetensors') | dict(trained=value)
    save_file({k: v for k,v in state.items() if v is not None}, folder/'model.safetensors')
    rewrite(folder, config_of(folder))
    with pytest.raises(InputError, match='trained.*train again'): Classifier.load(folder)


@pytest.mark.parametrize('field,value', [('asked', ['fox']), ('asked', 'cat'), ('asked', ['cat','cat']),
    ('missed', .1), ('missed', dict(share=2, keep=.9)), ('missed', dict(share=.1))])
def test_hostile_wishes(knowing, tmp_path, field, value):
    folder = knowing.save(tmp_path/'m')
    rewrite(folder, config_of(folder) | {field: value})
    with pytest.raises(InputError, match=f'{field} cannot be'): Classifier.load(folder)
