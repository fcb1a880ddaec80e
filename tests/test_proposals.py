"""Proposals: exact features in pieces, exemplars that prove themselves, windows on the evidence."""

import io
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from foveal.errors import UserError
from foveal.images import FileImage, TensorImage
from foveal.nn.encoders import Backbone
from foveal.proposals import Proposals, Trunk, mine
from foveal.proposals.background import fit_background
from foveal.proposals.exemplars import Question, Trial
from foveal.proposals.ranking import auc, purity, stratified_folds
from foveal.proposals.reduction import halvings_for
from foveal.proposals.repeats import apart_of, rank_in_image, reach_of
from foveal.proposals.survey import Survey, survey_image
from foveal.proposals.trunk_choice import trunk_by_name, trunk_of
from foveal.windows import covers, iou

SIZE, SIDE, PATCH = (96, 128), 12, 32


def small_trunk(seed: int = 0, pixels: int = 2**20) -> Trunk:
    """Random filters tell colours and edges apart well enough."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 24, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(24, 48, 3, stride=2, padding=1),
    )
    return Trunk(network, pixels=pixels)


@dataclass
class Painted:
    """Smooth noise with a green distractor in every image, and a thing of its class in some."""

    images: list[Tensor]
    labels: list[str]
    places: list[Tensor]  # (0 or 1, 4)


COLOURS = {"red": (0.9, 0.1, 0.1), "blue": (0.1, 0.1, 0.9), "green": (0.1, 0.8, 0.1)}


def painted(n: int, seed: int, names: tuple[str, ...] = ("none", "red")) -> Painted:
    g = torch.Generator().manual_seed(seed)
    found = Painted([], [], [])
    for i in range(n):
        coarse = 0.5 + 0.2 * torch.randn(1, 3, SIZE[0] // 16, SIZE[1] // 16, generator=g)
        image = nn.functional.interpolate(coarse, SIZE, mode="bilinear")[0]
        image += 0.02 * torch.randn(3, *SIZE, generator=g)
        label = names[i % len(names)]
        paint(image, "green", place(g))
        at = place(g)
        if label != "none":
            paint(image, label, at)
        found.images.append((image.clamp(0, 1) * 255).to(torch.uint8))
        found.labels.append(label)
        found.places.append(torch.tensor([at])[: int(label != "none")])
    return found


def place(g: torch.Generator) -> list[int]:
    top, left = (int(torch.randint(side - SIDE, (), generator=g)) for side in SIZE)
    return [top, left, top + SIDE, left + SIDE]


def paint(image: Tensor, name: str, at: list[int]) -> None:
    top, left, bottom, right = at
    image[:, top:bottom, left:right] = torch.tensor(COLOURS[name])[:, None, None]


def hit_rate(windows: list[Tensor], places: list[Tensor]) -> float:
    hits = [
        bool(covers(some, box).any()) for some, box in zip(windows, places, strict=True) if len(box)
    ]
    return sum(hits) / len(hits)


def random_windows(n: int, k: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    room = torch.tensor(SIZE) - PATCH + 1
    found = []
    for _ in range(n):
        corner = (torch.rand(k, 2, generator=g) * room).long()
        found.append(torch.cat((corner, corner + PATCH), dim=1))
    return found


@pytest.fixture(scope="module")
def mined() -> tuple[Proposals, Painted]:
    data = painted(60, seed=1)
    return mine(data.images, data.labels, trunk=small_trunk(), patch=PATCH), data


@pytest.fixture(scope="module")
def unseen() -> Painted:
    return painted(40, seed=2)


# the trunk


def assembled(trunk: Trunk, image: Tensor, margin: int = 0) -> Tensor:
    source = TensorImage(image)
    whole = torch.full((trunk.features, *trunk.grid(source.size)), torch.nan)
    for piece in trunk.pieces(source, margin):
        inner = piece.features[(slice(None), *piece.core)]
        assert whole[(slice(None), *piece.place)].isnan().all(), "a cell lies in two pieces"
        whole[(slice(None), *piece.place)] = inner
    return whole


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("size", [(203, 317), (64, 450)])
def test_features_in_pieces_are_those_of_the_whole_image(name, size):
    torch.manual_seed(0)
    trunk = trunk_of(Backbone(name, stage=1))
    image = torch.rand(3, *size)
    expected = trunk(image[None])[0]
    trunk.pixels = 10_000
    assert len(list(trunk.pieces(TensorImage(image)))) > 1
    # in float32 the order of sums differs from one size of convolution to another
    torch.testing.assert_close(assembled(trunk, image, margin=2), expected, rtol=1e-4, atol=1e-5)


def test_the_receptive_field_is_what_a_pixel_can_reach():
    trunk = small_trunk()
    # 5 and 3 wide with strides 2 and 2: 2 + 2 x 1 pixels to either side of pixel 4 i
    assert (trunk.stride, trunk.features, trunk.offset) == (4, 48, 0.5)
    assert trunk.reach == 5  # 4 pixels to either side of one, counted from its edge
    image = torch.rand(1, 3, 64, 64)
    changed = image.clone()
    changed[..., 32, 32] += 0.5
    moved = (trunk(changed) != trunk(image))[0].any(dim=0)
    rows = moved.any(dim=1).nonzero()[:, 0] * 4
    assert rows.tolist() == [28, 32, 36]


def test_a_network_that_sees_the_whole_image_in_every_cell_runs_in_one_piece():
    class Global(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            cells = nn.functional.avg_pool2d(x, 4)
            return cells * x.mean(dim=(2, 3), keepdim=True)

    trunk = Trunk(Global(), pixels=1)
    assert trunk.reach is None
    assert len(list(trunk.pieces(TensorImage(torch.rand(3, 400, 400))))) == 1


def test_pieces_read_a_bounded_part_of_the_image_at_a_time():
    class Counting:
        channels, size, largest = 3, (1500, 1000), 0

        def view(self, size: tuple[int, int]) -> Tensor:
            raise AssertionError("the whole image was asked for")

        def crops(self, windows: Tensor, size: tuple[int, int]) -> Tensor:
            self.largest = max(self.largest, len(windows) * size[0] * size[1])
            return torch.zeros(len(windows), 3, *size)

    image, trunk = Counting(), small_trunk(pixels=2**15)
    covered = sum(
        (piece.core[0].stop - piece.core[0].start) * (piece.core[1].stop - piece.core[1].start)
        for piece in trunk.pieces(image, margin=3)
    )
    assert covered == 375 * 250
    assert image.largest <= 2**15


def test_features_that_are_not_finite_are_refused() -> None:
    data, trunk = painted(6, seed=1), small_trunk()
    torch.nn.init.constant_(next(trunk.network.parameters()), torch.inf)
    with pytest.raises(UserError, match="weights are damaged"):
        mine(data.images, data.labels, trunk=trunk, patch=PATCH)


def test_a_trunk_stays_frozen_in_evaluation_mode_and_leaves_its_network_alone():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)).train()
    trunk = Trunk(network).train()
    trunk(torch.rand(2, 3, 32, 32))
    assert not any(part.training for part in trunk.modules())
    assert not any(p.requires_grad for p in trunk.parameters())
    assert network.training
    assert network[0].weight.requires_grad
    assert torch.equal(network[1].running_mean, torch.zeros(8))


def test_a_trunk_rounds_in_its_network_alone_and_gives_single_precision():
    image = TensorImage(torch.rand(3, 64, 80))
    seen = []

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen.append(output.dtype)

    trunk = small_trunk()
    trunk.network[0].register_forward_hook(look)
    features = {}
    for precision in ("32-true", "bf16-mixed"):
        features[precision] = next(trunk.rounded(precision).pieces(image)).features
    assert seen == [torch.float32, torch.bfloat16]
    assert all(each.dtype == torch.float32 for each in features.values())
    difference = (features["32-true"] - features["bf16-mixed"]).abs()
    assert 0 < difference.max() < 0.05 * features["32-true"].abs().max()
    with torch.autocast("cpu", torch.bfloat16):  # what is asked for outside does not count
        again = next(trunk.rounded("32-true").pieces(image)).features
    assert torch.equal(again, features["32-true"])


def test_pixels_are_normalised_as_the_encoder_was_trained():
    encoder = Backbone("test_resnet", stage=0, mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.2))
    image = torch.rand(1, 3, 32, 32)
    mean, deviation = (torch.tensor(k)[:, None, None] for k in (encoder.mean, encoder.std))
    expected = encoder.eval().network((image - mean) / deviation)[-1]
    torch.testing.assert_close(trunk_of(encoder)(image), expected)


@pytest.mark.parametrize(("patch", "stride"), [(16, 2), (64, 8), (120, 8)])
def test_the_layer_follows_from_the_patch(patch, stride, tmp_path):
    from timm import create_model

    torch.save(create_model("test_resnet").state_dict(), tmp_path / "weights.pt")
    trunk = trunk_by_name("test_resnet", patch=(patch, patch), weights=tmp_path / "weights.pt")
    assert trunk.stride == stride


def test_what_gives_no_maps_is_no_trunk():
    with pytest.raises(ValueError, match="maps"):
        Trunk(nn.Flatten())


# ranking


def test_purity_is_the_likelihood_ratio_at_the_best_depth():
    positive = torch.zeros(40, 1, dtype=torch.bool)
    positive[:10] = True
    perfect = torch.arange(40.0).flip(0)[None]
    # 8 of 8 at a base rate of 1/4; a depth of 12 exceeds the number of positives
    assert purity(perfect, positive).item() == pytest.approx(8 * torch.log(torch.tensor(4.0)))
    reverse = purity(-perfect, positive).item()
    assert reverse < 0


def test_purity_says_nothing_of_a_label_with_fewer_than_five_images():
    positive = torch.arange(40)[:, None] < 4
    assert purity(torch.rand(3, 40), positive).eq(-torch.inf).all()


def test_auc_counts_the_pairs_of_a_stratum_that_are_ranked_rightly():
    g = torch.Generator().manual_seed(0)
    scores = torch.randint(6, (50,), generator=g).float()  # with ties
    positive = torch.rand(50, generator=g) < 0.4
    strata = torch.randint(3, (50,), generator=g)
    right = pairs = 0.0
    for i in range(50):
        for j in range(50):
            if positive[i] and not positive[j] and strata[i] == strata[j]:
                pairs += 1
                right += float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
    assert auc(scores, positive, strata)[0] == pytest.approx(right / pairs)


def test_the_deviation_of_auc_is_that_of_shuffled_labels():
    g = torch.Generator().manual_seed(0)
    positive, strata = torch.arange(60) % 3 == 0, torch.arange(60) // 30
    areas = [auc(torch.rand(60, generator=g), positive, strata)[0] for _ in range(1000)]
    # 1000 draws tell a deviation to about 2 %
    assert torch.tensor(areas).std().item() == pytest.approx(
        auc(torch.rand(60, generator=g), positive, strata)[1], rel=0.08
    )


def test_auc_without_pairs_is_one_half_and_unsure():
    scores, positive = torch.rand(4), torch.tensor([True, True, False, False])
    assert auc(scores, positive, torch.tensor([0, 0, 1, 1])) == (0.5, float("inf"))


def test_folds_hold_whole_groups_and_every_class():
    g = torch.Generator().manual_seed(0)
    groups = torch.randint(30, (200,), generator=g)
    label = torch.randint(4, (200,), generator=g)
    folds = stratified_folds(label[:, None] == torch.arange(4), groups, 3, g)
    for group in groups.unique():
        assert len(folds[groups == group].unique()) == 1
    share = torch.stack([torch.bincount(folds[label == c], minlength=3) for c in range(4)]).double()
    share /= share.sum(dim=1, keepdim=True)
    assert share.min() > 0.2
    assert share.max() < 0.47


def test_folds_of_single_images_differ_by_one_image_of_a_class():
    label = torch.arange(90) % 2
    g = torch.Generator().manual_seed(0)
    folds = stratified_folds(label[:, None] == torch.arange(2), torch.arange(90), 3, g)
    for c in range(2):
        counts = torch.bincount(folds[label == c], minlength=3)
        assert counts.max() - counts.min() <= 1


# rare cells and exemplars


def test_rare_cells_do_not_depend_on_the_pieces():
    data = painted(4, seed=3)
    trunk = small_trunk()
    sample = torch.cat([trunk(i[None] / 255)[0].flatten(1).T for i in data.images])
    background = fit_background(sample, torch.Generator().manual_seed(0))
    image = TensorImage(data.images[1])
    whole = survey_image(trunk, background, image, count=20, kept=300, reach=2)
    trunk.pixels = 1
    parts = survey_image(trunk, background, image, count=20, kept=300, reach=2)
    assert torch.equal(parts[1], whole[1])
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[2], whole[2], rtol=0, atol=2e-3)  # float16
    same = (parts[3] == whole[3]).all(dim=1)  # cells of nearly equal rarity may change places
    assert same.float().mean() > 0.9
    torch.testing.assert_close(parts[4], whole[4], rtol=1e-4, atol=1e-5)
    assert torch.equal(parts[5], whole[5])
    apart = (whole[1][:, None] - whole[1]).abs().amax(dim=2) + 100 * torch.eye(20)
    assert apart.min() > 2


def test_whitened_cells_of_the_sample_are_uncorrelated():
    g = torch.Generator().manual_seed(0)
    sample = torch.randn(5000, 12, generator=g) @ torch.randn(12, 12, generator=g) + 3
    background = fit_background(sample, g)
    white = (sample - background.mean) @ background.axes
    torch.testing.assert_close(white.T @ white / 5000, torch.eye(12), atol=1e-3, rtol=0)


def trial(
    cells: Tensor, positive: Tensor, *, groups: Tensor | None = None, within: bool = False
) -> Trial:
    n, count, _ = cells.shape
    none = torch.zeros(n, 0, 2, dtype=torch.int64)
    places = torch.arange(count)[:, None].expand(n, count, 2)
    survey = Survey(cells, places, cells.half(), places, torch.zeros(n, 0), none)
    centres = cells.new_zeros(0, 16)
    groups = torch.arange(n) if groups is None else groups
    questions = [Question("yes", positive), Question("no", ~positive)]
    return Trial(survey, centres, questions, folds=groups % 3, groups=groups, within=within)


def directions(n: int, count: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return nn.functional.normalize(torch.randn(n, count, 16, generator=g), dim=-1)


def test_an_exemplar_is_blind_to_its_own_image():
    positive = torch.arange(60) % 2 == 0
    cells = directions(60, 4, seed=0)
    one = trial(cells, positive)
    # the cells of image 0 as seen by image 0 are changed into anything: its candidates rank as ever
    other = cells.clone()
    flipped = ~positive
    flipped[0] = positive[0]
    assert torch.equal(one.nats[-1, :4], trial(other, positive).nats[-1, :4])
    seen = one.responses(torch.arange(4))
    assert (seen[:, 0] > 0.999).all(), "every cell is most like itself"
    ranked = seen.clone()
    ranked[:, 0] = -torch.inf
    assert torch.equal(one.nats[-1, :4, 0], purity(ranked, positive[:, None])[:, 0])


def test_a_planted_cell_is_the_purest_exemplar_and_proves_itself():
    positive = torch.arange(60) % 2 == 0
    cells = directions(60, 4, seed=0)
    cells[positive, 2] = directions(1, 1, seed=9)[0, 0]
    tried = trial(cells, positive)
    best = tried.detectors(0, 10)[None]
    # a cell that happens to be like the planted one is a good exemplar too
    assert (tried.places[best.candidates, 0] == 2).float().mean() >= 0.8
    assert tried.proof(0, tried.detectors(0, 10))[0] == 1.0


def test_groups_of_one_look_do_not_pass_for_a_label():
    # each of 12 groups has a look of its own; 11 of its 12 images bear the label or 1 of them does
    groups = torch.arange(144) // 12
    positive = torch.where(groups % 2 == 0, torch.arange(144) % 12 < 11, torch.arange(144) % 12 < 1)
    looks = directions(12, 1, seed=1)[groups, 0]
    cells = directions(144, 4, seed=0)
    cells[:, 0] = nn.functional.normalize(looks + 0.1 * cells[:, 0], dim=-1)
    confounded = trial(cells, positive)
    honest = trial(cells, positive, groups=groups, within=True)
    own = confounded.detectors(0, 20)[None]
    assert (confounded.places[own.candidates, 0] == 0).float().mean() > 0.6  # by chance: 0.25
    assert confounded.proof(0, confounded.detectors(0, 20))[0] > 0.75
    area, deviation, _ = honest.proof(0, honest.detectors(0, 20))
    assert abs(area - 0.5) < 3 * deviation


def test_a_thing_that_tells_the_label_in_every_group_is_found_within_groups():
    groups = torch.arange(144) // 12
    positive = torch.arange(144) % 3 == 0
    cells = directions(144, 4, seed=0)
    cells[:, 0] = directions(12, 1, seed=1)[groups, 0]
    cells[positive, 3] = directions(1, 1, seed=9)[0, 0]
    tried = trial(cells, positive, groups=groups, within=True)
    assert (tried.places[tried.detectors(0, 10)[None].candidates, 0] == 3).all()
    assert tried.proof(0, tried.detectors(0, 10))[0] > 0.99


# what is found


def test_windows_hit_a_planted_thing_in_images_never_seen(mined, unseen):
    found, _ = mined
    windows = [found.windows(image, 2) for image in unseen.images]
    assert hit_rate([each[:1] for each in windows], unseen.places) >= 0.9
    assert hit_rate(random_windows(40, 1), unseen.places) < 0.3
    assert found.trusted
    assert found.auc > 0.95
    assert "not used with AUC" in str(found)


def test_nothing_here_is_found_and_not_asked_for(mined):
    found, _ = mined
    assert found.findings[0].question == "red"
    assert {exemplar.question for exemplar in found.exemplars} == {"red"}


def test_what_only_images_with_nothing_to_find_show_is_no_evidence() -> None:
    data = painted(60, seed=3, names=("none", "red"))
    for image, label in zip(data.images, data.labels, strict=True):
        if label == "none":  # a mark in its corner tells "none", and nothing tells "red"
            image[:, :12, :12] = torch.tensor([25, 25, 230], dtype=torch.uint8)[:, None, None]
    free = mine(data.images, data.labels, trunk=small_trunk(), patch=PATCH)
    told = mine(
        data.images,
        data.labels,
        trunk=small_trunk(),
        patch=PATCH,
        classes=("none", "red"),
        nothing=0,
    )
    assert "none" in {finding.question for finding in free.findings}
    assert [finding.question for finding in told.findings] == ["red"]
    assert {exemplar.question for exemplar in told.exemplars} == {"red"}


def test_the_best_exemplar_shows_the_planted_thing(mined):
    found, data = mined
    best = found.exemplars[0]
    assert covers(torch.tensor([best.window]), data.places[best.image]).all()
    assert best.nats == max(each.nats for each in found.exemplars)
    for each in found.exemplars:
        top, left, bottom, right = each.window
        assert torch.equal(each.crop, data.images[each.image][:, top:bottom, left:right])


def test_shuffled_labels_are_not_believed(unseen):
    data = painted(60, seed=1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(5)).tolist()
    found = mine(data.images, [data.labels[i] for i in order], trunk=small_trunk(), patch=PATCH)
    assert not found.trusted
    assert abs(found.auc - 0.5) < 0.25
    assert "rarity" in str(found)
    image = TensorImage(unseen.images[0])
    (piece,) = found.trunk.pieces(image)
    cells = found.background.cells(piece.features)
    rarity = found.background.rarity(cells)
    places = torch.cartesian_prod(*(torch.arange(n) for n in rarity.shape))
    every = (cells.flatten(0, 1), places)
    apart = apart_of(reach_of((PATCH, PATCH), found.trunk.stride))
    expected = rank_in_image(*every, rarity.flatten(), *every, apart=apart)
    torch.testing.assert_close(found.evidence(image).flatten(), expected)


def test_several_classes_need_not_be_told_which_means_nothing():
    names = ("none", "none", "red", "blue")
    data, unseen = painted(72, seed=1, names=names), painted(40, seed=2, names=names)
    found = mine(data.images, data.labels, trunk=small_trunk(), patch=PATCH)
    windows = [found.windows(image, 2) for image in unseen.images]
    assert hit_rate(windows, unseen.places) >= 0.9
    assert hit_rate(random_windows(40, 2), unseen.places) < 0.4
    assert "none" not in {each.question for each in found.findings if each.weight > 0}


def test_several_labels_an_image():
    names = ("none", "red", "blue", "both")
    g = torch.Generator().manual_seed(0)
    data = painted(64, seed=1, names=names[:1])
    bearing = torch.tensor([[i % 4 in (1, 3), i % 4 in (2, 3)] for i in range(64)])
    for image, (red, blue) in zip(data.images, bearing.tolist(), strict=True):
        for name, borne in (("red", red), ("blue", blue)):
            if borne:
                pixels = image / 255
                paint(pixels, name, place(g))
                image.copy_((pixels * 255).to(torch.uint8))
    found = mine(data.images, bearing, trunk=small_trunk(), patch=PATCH, classes=("red", "blue"))
    used = {each.question for each in found.findings if each.weight > 0}
    assert used == {"red", "blue"}
    assert min(each.auc for each in found.findings if each.weight > 0) > 0.9


def test_windows_are_distinct_whole_and_inside(mined, unseen):
    found, _ = mined
    windows = found.windows(unseen.images[0], 5)
    assert windows.shape == (5, 4)
    assert (windows[:, 2:] - windows[:, :2] == PATCH).all()
    assert windows.min() >= 0
    assert (windows[:, 2:] <= torch.tensor(SIZE)).all()
    assert (iou(windows, windows) - torch.eye(5)).max() < 0.25


def test_an_image_smaller_than_the_patch_has_one_window(mined):
    found, _ = mined
    image = torch.rand(3, 20, 50)
    assert found.windows(image, 1)[0, [0, 2]].tolist() == [0, 20]
    assert found.evidence(image).shape == (5, 13)
    with pytest.raises(ValueError, match=r"1\.\.65 cells"):
        found.windows(image, 66)


def test_evidence_in_pieces_is_that_of_the_whole_image(mined, unseen):
    found, _ = mined
    whole = found.evidence(unseen.images[0])
    pixels, found.trunk.pixels = found.trunk.pixels, 1
    torch.testing.assert_close(found.evidence(unseen.images[0]), whole, rtol=1e-4, atol=1e-4)
    found.trunk.pixels = pixels


def test_the_same_seed_finds_the_same():
    data = painted(20, seed=1)
    found, same = (
        mine(data.images, data.labels, trunk=small_trunk(), patch=PATCH) for _ in range(2)
    )
    assert same.findings == found.findings
    assert torch.equal(same.cells, found.cells)


def test_names_numbers_files_and_data_sets_are_the_same_images(tmp_path):
    data = painted(20, seed=1)
    found = mine(data.images, data.labels, trunk=small_trunk(), patch=PATCH)

    @dataclass
    class Example:
        image: TensorImage

    class Images:
        classes = ("none", "red")
        labels = torch.tensor([int(name == "red") for name in data.labels])

        def __len__(self) -> int:
            return len(data.images)

        def __getitem__(self, index: int) -> Example:
            return Example(TensorImage(data.images[index]))

    files = []
    for i, image in enumerate(data.images):
        from PIL.Image import fromarray

        fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"{i}.png")
        files.append(FileImage(tmp_path / f"{i}.png"))
    for images, labels in ((Images(), None), (files, Images.labels)):
        other = mine(images, labels, trunk=small_trunk(), patch=PATCH, classes=Images.classes)
        assert other.findings == found.findings
    assert all(file._pixels is None for file in files), "decoded files are kept"


def test_what_was_found_is_stored_and_read(mined, unseen):
    found, _ = mined
    file = io.BytesIO()
    torch.save(found.state(), file)
    file.seek(0)
    read = Proposals.from_state(torch.load(file, weights_only=True), small_trunk())
    assert str(read) == str(found)
    assert read.findings == found.findings
    assert torch.equal(read.evidence(unseen.images[0]), found.evidence(unseen.images[0]))
    assert torch.equal(read.exemplars[0].crop, found.exemplars[0].crop)


def test_progress_counts_the_images():
    data, seen = painted(12, seed=1), []
    mine(
        data.images,
        data.labels,
        trunk=small_trunk(),
        patch=PATCH,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == 2 * [(i + 1, 12) for i in range(12)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a"]}, "a label per image: got 1 for 12"),
        ({"labels": None}, "give labels"),
        ({"groups": [1]}, "a group per image"),
        ({"folds": 1}, "folds"),
        ({"groups": 12 * [0]}, "folds"),
        ({"classes": ("a",)}, "is not in"),
        ({"nothing": 2}, "nothing must lie in 0..1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    data = painted(12, seed=1)
    arguments = {"labels": data.labels, "trunk": small_trunk(), **change}
    with pytest.raises(ValueError, match=message):
        mine(data.images, **arguments)


# very large images


def test_a_reduced_trunk_is_the_trunk_on_the_shrunk_image():
    image = TensorImage(torch.rand(3, 260, 333))
    trunk = small_trunk()
    reduced = trunk.reduced(2)
    assert (reduced.stride, reduced.offset) == (4 * trunk.stride, 4 * trunk.offset)
    small = TensorImage(image.crops(torch.tensor([[0, 0, 260, 332]]), (65, 83))[0])
    assert reduced.grid(image.size) == trunk.grid(small.size)
    (piece,), (expected,) = reduced.pieces(image), trunk.pieces(small)
    torch.testing.assert_close(piece.features, expected.features)
    assert trunk.halvings == 0


def test_images_are_halved_until_they_have_the_megapixels_on_average():
    trunk = small_trunk()
    for sizes, megapixels, halvings in (
        ([(1000, 1000)], 1.0, 0),
        ([(1000, 1001)], 1.0, 1),
        ([(4000, 1000)], 1.0, 1),
        ([(4001, 1000)], 1.0, 2),
        ([(100, 100), (2000, 1000)], 1.01, 0),
        ([(40_000, 40_000)], 32.0, 3),
    ):
        assert halvings_for(sizes, trunk, megapixels) == halvings, sizes
    trunk.reach = None  # in one piece, so its memory grows with the largest
    assert halvings_for([(4000, 4000), (10, 10)], trunk, 32.0) == 1


def test_windows_of_shrunk_images_hit_the_planted_thing_at_full_size(mined):
    data = painted(60, seed=1)
    large = [each.repeat_interleave(2, 1).repeat_interleave(2, 2) for each in data.images]
    area = 4 * SIZE[0] * SIZE[1] / 1e6
    found = mine(large, data.labels, trunk=small_trunk(), patch=2 * PATCH, megapixels=area / 4)
    assert (mined[0].halvings, found.halvings) == (0, 1)
    boxes = [2 * box for box in data.places]
    for windows in (found.mined, [found.windows(image, 3) for image in large]):
        assert hit_rate([some[:3] for some in windows], boxes) >= 0.9
        assert all((some[:, 2:] - some[:, :2] == 2 * PATCH).all() for some in windows)
    again = Proposals.from_state(found.state(), small_trunk())
    assert torch.equal(again.windows(large[1], 3), found.windows(large[1], 3))
    assert again.evidence(large[0]).shape == mined[0].evidence(data.images[0]).shape
