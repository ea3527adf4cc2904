"Answers as tables and as sorted photos: odd labels, odd names, many photos"
import csv, tracemalloc
import pytest
from mlc_course.engine.answer_files import csv_answers, folder_names, label_columns, own_columns
from mlc_course.engine.answer_files import parquet_answers, sorted_photos, to_frame


def answer(path, labels=(), vocab=('cat','dog')):
    return dict(path=path, labels=list(labels), probs=dict.fromkeys(vocab, .5), known=bool(labels), score=1.)


ODD = ['path','prob_path','known','labels','score','error','cat']


def test_labels_named_like_columns():
    "Every label has a column, none twice, and ours keep their names"
    columns = label_columns(ODD)
    assert list(columns)==ODD
    assert len({*columns.values(), *own_columns})==len(ODD)+5
    assert (columns['path'], columns['prob_path'], columns['cat'])==('prob_prob_path', 'prob_path', 'cat')


def test_frame_of_odd_labels():
    frame = to_frame([answer('a.jpg', ['known','cat'], ODD), dict(path='b.jpg', error='b.jpg is empty')])
    assert frame.path.tolist()==['a.jpg','b.jpg']
    assert frame.known[0] and frame.known.isna()[1]
    assert frame.prob_known[0]==.5
    assert frame.labels[0]=='known cat'
    assert frame.error.tolist()[1]=='b.jpg is empty'
    assert frame.shape==(2, 12)


@pytest.mark.parametrize('answers', [[], [dict(path='b.jpg', error='gone')]])
def test_frame_of_no_answer(answers):
    assert list(to_frame(answers, ['cat']))==[*own_columns, 'cat']
    assert list(to_frame(answers))==list(own_columns)
    assert len(to_frame(answers))==len(answers)


PATHS = ['a,b.jpg', 'a"b.jpg', 'a\nb.jpg', ' a.jpg', 'ä猫.jpg', '=1+1.jpg', 'caf\udce9.jpg']


def test_csv_of_odd_paths(tmp_path):
    "Read back they are the same; bytes that are no text are written as such"
    with csv_answers(tmp_path/'a.csv', ['cat','dog']) as add: add([answer(o, ['cat','dog']) for o in PATHS])
    with open(tmp_path/'a.csv', encoding='utf-8', newline='') as f: rows = list(csv.DictReader(f))
    assert [o['path'] for o in rows]==[*PATHS[:-1], 'caf\\udce9.jpg']
    assert {o['labels'] for o in rows}=={'cat dog'}


def test_parquet_of_odd_paths(tmp_path):
    pq = pytest.importorskip('pyarrow.parquet')
    with parquet_answers(tmp_path/'a.parquet', ODD) as add:
        add([answer(o, ['cat'], ODD) for o in PATHS])
        add([dict(path='b.jpg', error='gone')])
    table = pq.read_table(tmp_path/'a.parquet').to_pylist()
    assert [o['path'] for o in table]==[*PATHS[:-1], 'caf\\udce9.jpg', 'b.jpg']
    assert (table[-1]['error'], table[-1]['known'], table[-1]['cat'])==('gone', None, None)


@pytest.mark.parametrize('kind', ['csv','parquet'])
def test_memory_is_bounded(tmp_path, kind):
    "Ten times the photos do not take more memory"
    if kind=='parquet': pytest.importorskip('pyarrow')
    opened = dict(csv=csv_answers, parquet=parquet_answers)[kind]
    def peak(n):
        tracemalloc.start()
        with opened(tmp_path/f'{n}.{kind}', ['cat','dog']) as add:
            for i in range(n): add([answer(f'{i}-{j}.jpg') for j in range(500)])
        res = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return res
    peak(1)
    assert peak(20)<1.5*peak(2)


NO_NAMES = ['cat','Cat','unknown','Unknown','a/b','a:b','..','.hidden','con','猫'*200,'x'*200,'dot.','/']


def test_labels_that_are_no_names(tmp_path):
    "Each gets a folder of its own, inside the one that was asked for, whatever the file system"
    folders = folder_names(NO_NAMES)
    assert list(folders)==NO_NAMES
    assert len({o.casefold() for o in folders.values()} | {'unknown'})==len(NO_NAMES)+1
    (tmp_path/'1.jpg').write_text('a picture')
    with sorted_photos(tmp_path/'album', NO_NAMES) as sorter:
        sorter.add([answer(str(tmp_path/'1.jpg'), NO_NAMES)])
    found = sorted(o.parent for o in (tmp_path/'album').glob('*/1.jpg'))
    assert [o.name for o in found]==sorted(folders.values())
    assert {o.parent for o in found}=={tmp_path/'album'}
    assert 'a/b in a_b' in sorter.says('album')


def test_equal_names(tmp_path):
    "From other folders, also such as differ in capitals or would meet a name made up here"
    names = ['a/1.jpg','b/1.jpg','c/1.JPG','d/1_2.jpg','e/1.jpg', f'f/{"x"*250}.jpg', f'g/{"x"*250}.jpg']
    for o in names:
        (tmp_path/o).parent.mkdir()
        (tmp_path/o).write_text(o)
    with sorted_photos(tmp_path/'album', ['cat']) as sorter:
        sorter.add([answer(str(tmp_path/o), ['cat']) for o in names])
    found = list((tmp_path/'album/cat').iterdir())
    assert sorted(o.read_text() for o in found)==names
    assert len({o.name.casefold() for o in found})==len(names)


def test_folder_that_fills_meanwhile(tmp_path):
    "Somebody else's file stays"
    with pytest.raises(OSError):
        with sorted_photos(tmp_path/'album', ['cat']):
            (tmp_path/'album').mkdir()
            (tmp_path/'album/thesis.txt').write_text('years of work')
    assert [o.name for o in tmp_path.iterdir()]==['album']
    assert (tmp_path/'album/thesis.txt').exists()
