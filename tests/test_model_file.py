"A model folder appears whole or not at all, and reading it believes nothing"
import os
import pytest
from conftest import names, tree
from mlc_course.classifier import Classifier
from mlc_course.engine.core import InputError
from mlc_course.engine.model_file import check_dest


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
