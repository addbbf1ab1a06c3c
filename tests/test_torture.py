"A minute of `make torture`: mutants of files are read or refused in one line, killed processes go on where they were."
import os
import pytest
import torture

pytestmark = pytest.mark.skipif(os.name=='nt', reason='signals and limits of POSIX')

@pytest.fixture(scope='module')
def home(tmp_path_factory): return torture.make_home(tmp_path_factory.mktemp('torture'))

def test_images():
    counts,bad = torture.try_mutants(torture.image_mutants(600, 2), 2)
    assert not bad and len(counts)==len(torture.image_files()) and all(0 < told for _,told in counts.values())

def test_texts(home):
    counts,bad = torture.try_mutants(torture.text_mutants(home, 250, 2), 2)
    assert not bad and len(counts)==6 and all(told for _,told in counts.values()) and sum(n-told for n,told in counts.values()) > 20

def test_the_same_mutant_again(home):
    "The seed and the number alone decide"
    for make in (torture.image_mutants, lambda *a: torture.text_mutants(home, *a)):
        kind,i,data,_ = list(make(40, 7))[-1]
        assert [m[2] for m in make(0, 7, f'{kind}:{i}')]==[data]

@pytest.mark.parametrize('says', [('ValueError', ValueError('x')), ('KeyError', KeyError('x')), ('message of', torture.AdsError('')), ('refused', torture.AdsError('a'))])
def test_what_counts_as_wrong(says):
    def read(): raise says[1]
    assert torture.judged(read).startswith(says[0])
    assert torture.judged(lambda: None)=='' and torture.judged(lambda: None, limit_bytes=0)=='' # the peak did not grow

def test_kills(home): assert not torture.try_kills(home, 2, 2, kinds=('predict', 'download'))
