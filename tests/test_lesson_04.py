"Edges of chapter 04: rows of zeros and ones, tables, and where the course's data come from"
from xml.etree import ElementTree
import numpy as np, pandas as pd, pytest, torch
from fastai.vision.all import ColReader, MultiCategorize, OneHotEncode
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

import mlc_course.data as data
import mlc_course.draw.sources as sources
from mlc_course.data import check_labels, decode_labels, encode_labels, label_facts, read_labels
from mlc_course.draw.animals import colors
from mlc_course.draw.datasets import scene_vocab
from mlc_course.draw.scenes import draw_scene
from mlc_course.ui.diagrams import vocab_arrows
from mlc_course.ui.show import show_targets

VOCAB = ['cat','dog','Siamese','pug']
LISTS = [['cat','Siamese'], [], ['pug','cat','dog','Siamese']]


def names_in(found):
    present = {o['label'] for o in found} | {o['species'] for o in found}
    return [name for name in scene_vocab if name in present]


# --- rows of zeros and ones

def test_rows():
    targets = encode_labels(LISTS, VOCAB)
    assert targets.dtype==torch.float
    assert targets.tolist()==[[1,0,1,0], [0,0,0,0], [1,1,1,1]]


def test_said_twice_is_one_name(): assert encode_labels([['cat','cat']], VOCAB).sum()==1


def test_no_pictures_and_yet_four_columns(): assert encode_labels([], VOCAB).shape==(0,4)


def test_back_in_column_order():
    targets = encode_labels(LISTS, VOCAB)
    assert decode_labels(targets, VOCAB)==[['cat','Siamese'], [], VOCAB]
    assert decode_labels(targets>.5, VOCAB)==decode_labels(targets, VOCAB) # answers of a network are bools


def test_columns_need_names():
    with pytest.raises(ValueError, match='3 names'): decode_labels(encode_labels(LISTS, VOCAB), VOCAB[:3])


def test_unknown_names_are_said():
    check_labels(['cat','pug'], VOCAB)
    with pytest.raises(ValueError, match='Siamse'): check_labels(['cat','Siamse'], VOCAB)
    with pytest.raises(ValueError, match='twice'): check_labels([], ['cat','cat'])


def test_two_pugs_have_one_name():
    _,found = draw_scene(0, 32, names=['pug','pug','Siamese'])
    assert names_in(found)==['cat','dog','Siamese','pug']


def test_ten_different_names(): assert len(scene_vocab)==len(set(scene_vocab))==10


def test_fastai_makes_the_same_rows():
    to_numbers,to_row = MultiCategorize(vocab=scene_vocab),OneHotEncode(c=10)
    lists = [names_in(draw_scene(seed, 32)[1]) for seed in range(12)]
    assert [] in lists
    for names,ours in zip(lists, encode_labels(lists, scene_vocab)):
        assert torch.equal(to_row(to_numbers(names)).as_subclass(torch.Tensor), ours)
    with pytest.raises(KeyError, match='cta'): to_numbers(['cta'])


# --- tables

def test_empty_lists_survive(tmp_path):
    (tmp_path/'t.csv').write_text('fname,labels\n007,NA\n2.jpg,\n')
    df = read_labels(tmp_path/'t.csv')
    assert df.fname.tolist()==['007','2.jpg'] # zeros stay, and so does NA
    assert [o.split() for o in df.labels]==[['NA'], []]
    assert [ColReader('labels', label_delim=' ')(row) for row in df.itertuples()]==[['NA'], []]


def test_an_empty_text_split_at_spaces_is_no_empty_list(): assert (''.split(' '),''.split())==([''],[])


def test_table_without_fname(tmp_path):
    (tmp_path/'t.csv').write_text('file,labels\n1.jpg,cat\n')
    with pytest.raises(ValueError, match='lacks fname'): read_labels(tmp_path/'t.csv')


@pytest.mark.parametrize('name', ['breed_of','keep_items','pets','read_labels','scene_table','species_of'])
def test_chapters_import_from_data(name):
    assert name in data.__all__
    assert getattr(data, name) is getattr(sources, name)


# --- plots and diagrams

def test_strips():
    ax = show_targets(encode_labels(LISTS, VOCAB), VOCAB, title='three')
    shown = np.asarray(ax.images[0].get_array())
    assert shown.shape==(4,3,3)
    assert np.allclose(shown[0,0], to_rgb(colors['cat']))
    assert (shown[:,1]==.94).all()
    assert [t.get_text() for t in ax.get_yticklabels()]==VOCAB
    plt.close('all')


def test_strips_of_a_frame():
    frame = pd.DataFrame(encode_labels(LISTS, VOCAB).numpy(), columns=VOCAB)
    assert show_targets(frame, VOCAB).images[0].get_array().shape==(4,3,3)
    plt.close('all')


def test_arrows():
    "A column keeps its number and gets the other list's name"
    drawn = vocab_arrows(['a<b','cat','dog'], ['a<b','dog']).data
    ElementTree.fromstring(drawn)
    assert drawn.count('l-11 -5v10z')==2 # the third column has no partner
    assert 'a&lt;b' in drawn


# --- what to look at before training

def test_facts_of_a_table():
    df = pd.DataFrame(dict(labels=['cat Siamese',None,'dog pug',''], is_valid=[0,0,1,1]))
    facts = label_facts(df, VOCAB)
    assert facts['blank']==2
    assert facts['names_per_picture']=={0: 2, 2: 2}
    assert facts['train']==dict(cat=1, dog=0, Siamese=1, pug=0)
    assert facts['valid']==dict(cat=0, dog=1, Siamese=0, pug=1)
    with pytest.raises(ValueError, match='pug'): label_facts(df, VOCAB[:3])
