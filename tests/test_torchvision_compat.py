import subprocess
import sys


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_what_foveal_needs_of_torchvision_works_over_any_torch():
    done = python(
        "import foveal._torchvision, torch, timm, torchmetrics, torchvision\n"
        "from torchvision.ops import box_iou\n"
        "from torchvision.transforms import v2\n"
        "print(box_iou(torch.tensor([[0., 0, 2, 2]]), torch.tensor([[0., 0, 2, 1]])).item())\n"
        "print(tuple(v2.functional.horizontal_flip(torch.rand(3, 4, 4)).shape))\n"
    )
    assert done.stdout.split("\n")[:2] == ["0.5", "(3, 4, 4)"], done.stderr


def test_nothing_is_declared_where_the_pair_matches():
    done = python(
        "try:\n"
        "    import torchvision\n"
        "    matches = True\n"
        "except RuntimeError:\n"
        "    matches = False\n"
        "import sys\n"
        "for name in [n for n in sys.modules if n.split('.')[0] == 'torchvision']:\n"
        "    del sys.modules[name]\n"
        "import foveal._torchvision as compat\n"
        "print((compat._library is None) == matches)\n"
    )
    assert done.stdout.strip() == "True", done.stderr
