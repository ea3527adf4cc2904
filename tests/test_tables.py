"Tables of labels as people write them: understood where all rows agree, else asked for"
import json, time, unicodedata
from pathlib import Path
import pytest
from mlc_course.engine.core import InputError
from mlc_course.engine.photos import read_photos
from mlc_course.engine.tables import read_table
from test_photos import put, told, vocab


@pytest.fixture
def table(tmp_path):
    "Writes a table beside 1.jpg to 6.jpg and reads it"
    put(tmp_path, *[f'{i}.jpg' for i in range(1, 7)])
    def write(text, name='t.csv', encoding='utf-8'):
        (tmp_path/name).write_text(text, encoding=encoding, newline='')
        return read_table(tmp_path/name)
    write.folder = tmp_path
    return write


ODD_ROWS = 'fname,labels,is_valid\r\n1.jpg,dog cat dog,False\r\n\r\n2.jpg,,1\r\n'


@pytest.mark.parametrize('text,encoding,labels,is_valid', [
    (ODD_ROWS, 'utf-8-sig', [['cat','dog'],[]], [False,True]),
    ('fname,labels\n1.jpg,NA\n./1.jpg,NA\n', 'utf-8', [['NA']], [False])])
def test_tables(table, text, encoding, labels, is_valid):
    got = table(text, encoding=encoding)
    assert (got.labels, got.is_valid)==(labels, is_valid)


# --- several labels in a cell

def column(*cells): return 'fname,labels\n' + ''.join(f'{i}.jpg,"{o}"\n' for i,o in enumerate(cells, 1))


@pytest.mark.parametrize('both,one', [('cat,dog','cat'), ('cat, dog','cat'), ('cat;dog','dog'),
    ('cat|dog','cat'),
    ('cat | dog','dog'), ("['cat', 'dog']","['cat']"), ('[""cat"", ""dog""]','[]'), ("['cat' 'dog']",
    "['dog']"),
    ('[cat, dog]','[cat]'), ("{'cat', 'dog'}","{'cat'}"), ("('cat', 'dog')","('cat',)"), ('cat,dog,','cat,'),
    ('cat dog','cat'), ('cat\ndog','cat'), ('cat、dog','cat'), ("'cat','dog'","'cat'"), ('cat,,dog',''),
    ('{cat,dog}','{}'), ('cat\u00a0dog','cat'), (';cat;dog;',';cat;'), ('[""cat"",""dog"",null]','[null]')])
def test_separators(table, both, one):
    got = table(column(both, one, both))
    assert got.labels[0]==got.labels[2]==['cat','dog']
    assert got.labels[1] in ([], ['cat'], ['dog'])


def test_hierarchies_are_names(table):
    assert vocab(table(column('animal/cat', 'animal/dog', '/m/01')))==['/m/01','animal/cat','animal/dog']


def test_separator_is_told(table):
    assert table(column('cat,dog')).kind=='a table of files and labels, separated by commas'
    assert table(column("['cat', 'dog']")).kind=='a table of files and labels, separated as lists'


@pytest.mark.parametrize('cells,label', [(('traffic light,car', 'traffic light', 'car'), 'traffic_light'),
    (("['traffic light']",), 'traffic_light'), (('fire truck; car', 'truck'), 'fire_truck'),
    (('big\tcat|dog',), 'big_cat')])
def test_names_with_blanks(table, cells, label): assert label in vocab(table(column(*cells)))


@pytest.mark.parametrize('cells,row', [(('cat,dog','cat;dog'), 2), (('cat,dog','dog cat'), 3),
    (('["cat"]','cat'), 3),
    (('dog','cat/dog','cat'), 3), (('cat+dog','cat','dog'), 2), (('cat & x'.replace(' ',''),'cat','x'), 2),
    (("{'cat': 1}",), 2), (("[['cat'], ['dog']]",), 2), (('cat dog','pug fox','dog fox','cat, dog'), 2),
    (('1 0 0','0 1 0'), 2), (("['cat', ...]",), 2), (('cat/dog','dog/pug'), 2), (('cat+dog','dog'), 2),
    (("['cat",), None), (('{""choices"": [""cat""]}',), 2)])
def test_ambiguous_cells_are_asked_for(table, cells, row):
    text = 'fname\tlabels\n' + ''.join(f'{i}.jpg\t{o}\n' for i,o in enumerate(cells, 1)).replace('""', '"')
    if row is None: # a bracket that never closes is part of a name
        assert vocab(table(text.replace('"', "'"), 't.tsv'))==["['cat"]
        return
    with pytest.raises(InputError) as e: table(text, 't.tsv')
    assert f'row {row}' in str(e.value)
    assert len(str(e.value))<400


# --- columns

@pytest.mark.parametrize('head', ['filename,label', 'file_name,labels', 'FNAME,Labels', 'image,tags',
    'Image Path,TAGS',
    'path,class', 'File,Classes', ' filename , label ', 'ImageID,LabelName', 'image_name,tags',
    'Id,Target', 'img,category'])
def test_names_of_columns(table, head): assert table(f'{head}\n1.jpg,cat\n').labels==[['cat']]


@pytest.mark.parametrize('name,train,valid', [('is_valid','False','True'), ('Is_Valid','0.0','1.0'),
    ('is_val','n','Y'),
    ('IsValid','F','T'), ('split','train','valid'), ('Split','TRAIN','Val'), ('subset','training',
    'validation'),
    ('set','train_set','val_set'), ('partition','train','dev'), ('split','train2017','val2017')])
def test_columns_of_a_split(table, name, train, valid):
    got = table(f'fname,labels,{name}\n1.jpg,cat,{train}\n2.jpg,dog,{train}\n3.jpg,cat,{valid}\n')
    assert got.is_valid==[False,False,True]


def test_test_rows_are_left_out(table):
    got = table('fname,labels,split\n1.jpg,cat,train\n2.jpg,dog,val\n3.jpg,pug,test\n')
    assert ([o.name for o in got.files], got.is_valid)==(['1.jpg','2.jpg'], [False,True])
    assert told(got, '1 pictures for testing')


def test_columns_without_use_are_told(table):
    got = table('fname,labels,width,split\n1.jpg,cat,640,a\n2.jpg,dog,480,b\n')
    assert told(got, '2 columns are not used: width split')
    assert table(',fname,labels\n0,1.jpg,cat\n').notes==() # pandas' index is nothing to speak of
    for head in 'image,path,labels','fname,label,tags','fname,labels,is_valid,split':
        with pytest.raises(InputError, match='rename all but one'):
            table(f'{head}\n' + '1.jpg,'*head.count(',')+'cat\n')


@pytest.mark.parametrize('text', ['filename,cat,big dog\n1.jpg,1,0\n2.jpg,0,1\n',
    'filename, cat, big dog\n1.jpg, 1, 0\n2.jpg, 0, 1\n',
    'image\tcat\tbig dog\n1\t1.0\t0.0\n2\t0.0\t1.0\n',
    'image;cat;big dog\n1.jpg;True;False\n2.jpg;False;True\n',
    'image,cat,big dog\n1.jpg,1,-1\n2.jpg,-1,1\n', 'image,cat,big dog\n1.jpg,x,\n2.jpg,,x\n',
    'image,cat,big dog\n1.jpg,1,\n2.jpg,,1\n',
    ',image,cat,big dog,width\n0,1.jpg,1,0,640\n1,2.jpg,0,1,480\n',
    'image,cat,big dog\n1.jpg,yes,no\n2.jpg,no,yes\n'])
def test_a_column_for_each_label(table, text):
    got = table(text)
    assert got.labels==[['cat'],['big_dog']]
    assert got.kind=='a table with a column for each of 2 labels'


@pytest.mark.parametrize('text,row', [('f,cat\n', None), ('image,cat\n1.jpg,1\n2.jpg,0\n3.jpg,\n', 4),
    ('image,cat\n1.jpg,1\n2.jpg,0\n3.jpg,-1\n', 4), ('image,cat\n1.jpg,1\n2.jpg,0\n3.jpg,2\n', 4),
    ('image,width\n1.jpg,640\n', None), ('image,cat,cat\n1.jpg,1,0\n', None)])
def test_columns_that_are_asked_for(table, text, row):
    with pytest.raises(InputError, match='header is|two columns' if row is None else f'row {row}'):
        table(text)


# --- how cells are separated, and other tables

@pytest.mark.parametrize('text,name', [('fname;labels\n1.jpg;cat, dog\n', 't.csv'),
    ('fname\tlabels\n1.jpg\tcat dog\n', 't.tsv'),
    ('sep=;\nfname;labels\n1.jpg;cat dog\n', 't.csv'), ('fname|labels\n1.jpg|cat dog\n', 't.txt'),
    ('\n\nfname,labels\n1.jpg,cat dog\n', 't.csv'), ('"fname";"labels"\r\n"1.jpg";"cat dog"\r\n', 't.csv'),
    ('[{"fname": "1.jpg", "labels": ["cat", "dog"]}]', 't.json'), ('{"1.jpg": ["cat", "dog"]}', 't.json'),
    ('{"fname": {"0": "1.jpg"}, "labels": {"0": "cat dog"}}', 't.json'),
    ('{"file_name": "1.jpg", "labels": ["cat","dog"]}\n', 'metadata.jsonl')])
def test_kinds_of_tables(table, text, name): assert table(text, name).labels==[['cat','dog']]


def test_messages_stay_short(table):
    big = json.dumps([dict(f=f'{i}.jpg', l=['a']) for i in range(60000)])
    for text,name in (big, 'big.json'), (big[1:-1]+',{', 'broken.json'), ('x,'*50_000+'\n1\n',
        'wide.csv'), ('x'*100_000, 'long.csv'):
        with pytest.raises(InputError) as e: table(text, name)
        assert len(str(e.value))<500
        assert ('JSON' in str(e.value))==name.endswith('json')
    with pytest.raises(InputError) as e: table('fname,labels,is_valid\n1.jpg,cat,'+'x'*100_000+'\n')
    assert len(str(e.value))<300
    with pytest.raises(InputError) as e: table('fname,labels\n'+'x'*100_000+',cat\n')
    assert len(str(e.value))<1000


# --- which file a name means

@pytest.mark.parametrize('written', ['1', '1.JPG', './1.jpg', './/1.jpg', '{}/1.jpg', '{}/x/../1.jpg',
    '.\\1.jpg'])
def test_names_of_files(table, written):
    got = table(f'fname,labels\n{written.format(table.folder)},cat\n')
    assert got.files==[table.folder/'1.jpg']


def test_other_names_of_files(table):
    here = table.folder
    apart = unicodedata.normalize('NFD', 'bäckerei.jpg')
    put(here, 'images/a.jpg', apart, 'two.jpg', 'two.png', 'Same.jpg', 'same.JPG')
    got = table('fname,labels\nimages\\a.jpg,cat\nbäckerei.jpg,dog\nIMAGES/A.jpg,cat\nbäckerei,dog\n')
    assert len(got.files)==2 # two names of one file are one picture
    for name in 'two','SAME.jpg':
        with pytest.raises(InputError, match='write the whole name'): table(f'fname,labels\n{name},cat\n')
    with pytest.raises(InputError, match='is an address'): table('fname,labels\nhttps://x.org/1.jpg,cat\n')
    with pytest.raises(InputError, match='lies outside'): table('fname,labels\n/etc/1.jpg,cat\n')


def test_pictures_in_a_folder_beside_the_table(table):
    put(table.folder, 'train/a.jpg', 'train/b.jpg', 'test/c.jpg', 'twice/x/a.jpg')
    got = table('fname,labels\na,cat\nb,dog\n')
    assert [o.parent.name for o in got.files]==['train']*2
    assert told(got, 'pictures are those in', 'train')
    put(table.folder, 'small/a.jpg', 'small/b.jpg')
    with pytest.raises(InputError, match='does not exist'): table('fname,labels\na,cat\nb,dog\n')


# --- several rows of a picture

def test_a_row_for_each_label(table):
    got = table('image,label\n1.jpg,cat\n1.jpg,dog\n2.jpg,cat\n2.jpg,pug\n3.jpg,pug\n')
    assert got.labels==[['cat','dog'],['cat','pug'],['pug']]
    assert 'a row for each picture and label (5 rows)' in got.kind
    got = table('filename,width,class,xmin,ymin\n1.jpg,9,cat,1,1\n1.jpg,9,cat,2,2\n'
        '1.jpg,9,dog,3,3\n2.jpg,9,cat,1,1\n')
    assert got.labels==[['cat','dog'],['cat']]


def test_rows_for_absent_labels_are_refused(table):
    "OpenImages has rows that say what is not in a picture"
    with pytest.raises(InputError, match="row 3: Confidence is '0'"):
        table('ImageID,LabelName,Confidence\n1,cat,1\n1,dog,0\n2,cat,1\n2,pug,1\n')


def test_numbered_columns(table):
    assert table('image,label_1,label_2\n1.jpg,big cat,dog\n2.jpg,dog,\n').labels==[['big_cat','dog'],
        ['dog']]


@pytest.mark.parametrize('rows', ['1.jpg,cat\n1.jpg,dog\n2.jpg,cat\n',
    '1.jpg,cat\n1.jpg,cat\n1.jpg,dog\n2.jpg,cat\n2.jpg,dog\n',
    '1.jpg,cat dog\n1.jpg,pug\n2.jpg,cat\n2.jpg,dog\n'])
def test_contradicting_rows_are_refused(table, rows):
    with pytest.raises(InputError, match='contradicts row'): table('fname,labels\n'+rows)


def test_many_repeated_rows_are_counted(table):
    assert len(table('fname,labels\n'+'1.jpg,cat\n'*100).notes)==6


# --- DataFrames

def test_dataframes(table, monkeypatch):
    import numpy as np, pandas as pd
    monkeypatch.chdir(table.folder)
    lists = pd.DataFrame(dict(image=['1.jpg',Path('2.jpg').resolve(),'3.jpg'], labels=[['cat',
        'big dog'],np.array(['cat']),None]))
    assert read_photos(lists).labels==[['big_dog','cat'],['cat'],[]]
    zeros = pd.DataFrame(dict(cat=[1,0], dog=[1.,np.nan], is_valid=np.array([False,True])),
        index=pd.Index(['1','2'], name='fname'))
    assert read_photos(zeros).labels==[['cat','dog'],[]]
    assert read_photos(zeros).is_valid==[False,True]
    with pytest.raises(InputError, match='the DataFrame, row 7 .*does not exist'):
        read_photos(pd.DataFrame(dict(fname=['9.jpg'], labels=['cat']), index=[7]))
    with pytest.raises(InputError, match='the DataFrame has no column that names the files'):
        read_photos(pd.DataFrame(dict(a=[1])))


# --- read_labels of chapter 04

@pytest.mark.parametrize('yes,no', [('1','0'), ('yes','no'), ('True','False'), ('TRUE','FALSE'), ('1.0',
    '0.0'), ('t','f'), ('True','')])
def test_read_labels_gives_bools(tmp_path, yes, no):
    from mlc_course.data import read_labels
    (tmp_path/'t.csv').write_text(f'fname,labels,is_valid\na.jpg,a,{yes}\nb.jpg,b,{no}\n')
    df = read_labels(tmp_path/'t.csv')
    assert df.is_valid.dtype==bool
    assert df[~df.is_valid].fname.tolist()==['b.jpg']
    (tmp_path/'t.csv').write_text('fname,labels,is_valid\na.jpg,a,maybe\n')
    with pytest.raises(ValueError, match="'maybe' in row 2"): read_labels(tmp_path/'t.csv')


# --- speed

def test_a_large_table_is_quick(tmp_path):
    (tmp_path/'p').mkdir()
    for i in range(20_000): (tmp_path/f'p/{i}.jpg').touch()
    rows = [f'{i},label{i%99} other{i%7}\n' for i in range(20_000)]
    (tmp_path/'t.csv').write_text('image_id,labels\n' + ''.join(rows))
    start = time.process_time()
    got = read_photos(tmp_path/'t.csv')
    assert len(got.files)==20_000
    assert time.process_time()-start<8 # about half a second on a quiet machine
