import pytest
import torch

from foveal import windows
from foveal.images import FileImage, TensorImage
from foveal.models import PatchClassifier
from foveal.nn import aggregators, encoders, scorers, selectors
from foveal.objectives import classification


def model(*, k=3, aggregate=None, view=(40, 40), patch=(24, 24), place=None, pool=4):
    torch.manual_seed(0)
    encoder = encoders.ThinResNet(width=8)
    return PatchClassifier(
        scorer=scorers.ConvScorer(pool=pool),
        select=selectors.TopK(k, sigma=0.1),
        encoder=encoder,
        aggregate=aggregate or aggregators.Transformer(8, width=16, num_layers=1, heads=2),
        classes=4,
        view=view,
        patch=patch,
        place=place,
    )


AGGREGATES = [None, aggregators.mean, aggregators.max, aggregators.concat]


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_prediction_holds_the_answer_and_where_it_was_found(aggregate):
    net = model(aggregate=aggregate)
    prediction = net(torch.rand(2, 3, 120, 120))
    n = net.grid[0] * net.grid[1]
    assert net.grid == (8, 8)
    assert prediction.logits.shape == (2, 4)
    assert prediction.scores.shape == (2, n)
    assert prediction.windows.shape == (n, 4)
    assert prediction.selection.weights.shape[:2] == (2, 3)
    assert prediction.patches.shape == (2, 3, 3, 24, 24)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_every_parameter_learns_from_image_labels(aggregate):
    net = model(aggregate=aggregate).train()
    images = torch.rand(4, 3, 120, 120)
    classification(net(images), torch.tensor([0, 1, 2, 3])).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        if name != "scorer.layers.6.bias":  # moves all scores alike, which changes nothing
            assert parameter.grad.abs().sum() > 0, name


def test_an_answer_does_not_depend_on_the_batch_and_repeats_itself():
    net = model().eval()
    images = torch.randint(0, 256, (5, 3, 120, 120), dtype=torch.uint8)
    with torch.inference_mode():
        together, again = net(images), net(images)
        alone = [net(image[None]) for image in images]
    assert torch.equal(together.logits, again.logits)
    # convolutions over another number of images may add in another order: one unit in the last
    # place
    torch.testing.assert_close(
        torch.cat([each.logits for each in alone]), together.logits, rtol=1e-5, atol=1e-6
    )
    for b, each in enumerate(alone):
        assert torch.equal(each.selection.candidates[0], together.selection.candidates[b])


def test_images_of_differing_sizes_answer_as_they_do_alone():
    net = model().eval()
    images = [torch.rand(3, 120, 120), torch.rand(3, 100, 180), torch.rand(3, 64, 64)]
    with torch.inference_mode():
        together = net(images)
        for b, image in enumerate(images):
            alone = net([image])
            torch.testing.assert_close(together.logits[b], alone.logits[0], rtol=1e-5, atol=1e-6)
            assert torch.equal(together.windows[b], alone.windows)


def test_windows_centred_outside_the_image_are_never_chosen():
    net = model(k=9).eval()
    for size in ((60, 180), (180, 60), (120, 110)):
        prediction = net([torch.rand(3, *size)])
        chosen = windows.centres(prediction.windows[prediction.selection.candidates[0]])
        assert (chosen < torch.tensor(size)).all()
        assert (chosen > 0).all()


def test_patches_are_pixels_of_the_full_image_and_not_resampled():
    net = model().eval()
    image = torch.rand(3, 150, 150)
    prediction = net([image])
    for slot, number in enumerate(prediction.selection.candidates[0].tolist()):
        top, left, bottom, right = prediction.windows[number].tolist()
        top, left = max(top, 0), max(left, 0)
        cut = image[:, top:bottom, left:right]
        seen = prediction.patches[0, slot]
        assert torch.isin(cut, seen).all()
    assert prediction.patches.shape[-2:] == (24, 24)


def test_a_window_is_cut_where_its_score_was_made():
    # a bright spot raises the score of one cell; the patch of that cell shows the spot in its
    # middle
    net = model(k=1, view=(44, 44), patch=(24, 24), pool=4).eval()
    for parameter in net.scorer.parameters():
        parameter.data.abs_()
    for at in ((60, 60), (30, 84), (96, 36)):
        image = torch.zeros(3, 132, 132)  # three times the view
        image[:, at[0] - 3 : at[0] + 3, at[1] - 3 : at[1] + 3] = 1
        patch = net([image]).patches[0, 0]
        lit = (patch[0] > 0.5).nonzero().float().mean(dim=0) + 0.5
        # the maximum over 4 x 4 pixels of the view hides 2 of them each way, 6 px of the image,
        # and the receptive field of the cell counts the spot anywhere inside it as equal
        assert ((lit - 12).abs() <= 9).all()


def test_the_papers_grid_can_be_had():
    net = model(place=windows.cordonnier_grid).eval()
    prediction = net(torch.rand(1, 3, 120, 120))
    assert torch.equal(prediction.windows, windows.cordonnier_grid((120, 120), net.grid, (24, 24)))


def test_uint8_floats_and_files_are_the_same_image(tmp_path):
    from PIL import Image as Pillow

    net = model().eval()
    pixels = torch.randint(0, 256, (3, 120, 120), dtype=torch.uint8)
    Pillow.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    with torch.inference_mode():
        stored = net([TensorImage(pixels)])
        for other in (net(pixels[None]), net([FileImage(tmp_path / "a.png")])):
            assert torch.equal(other.logits, stored.logits)
        # floats are resampled to the view without uint8's rounding
        floats = net(pixels[None] / 255)
    torch.testing.assert_close(floats.logits, stored.logits, atol=0.05, rtol=0.05)


def test_impossible_settings_are_refused_with_their_numbers():
    with pytest.raises(ValueError, match="k=65 for 8 x 8 windows"):
        model(k=65)
    with pytest.raises(ValueError, match="too small for the scorer"):
        model(view=(9, 9))
    with pytest.raises(ValueError, match="fewer than k=9"):
        model(k=9)([torch.rand(3, 4, 400)])
    with pytest.raises(ValueError, match="3 channels: got 1"):
        model()([torch.rand(1, 50, 50)])


def test_the_entropy_reward_lowers_the_loss_of_an_undecided_scorer():
    net = model().eval()
    prediction, labels = net(torch.rand(2, 3, 120, 120)), torch.tensor([0, 1])
    plain = classification(prediction, labels, entropy=0.0)
    assert classification(prediction, labels, entropy=0.1) < plain


def test_class_weights_count_the_errors_of_a_class():
    net = model().eval()
    prediction, labels = net(torch.rand(2, 3, 120, 120)), torch.tensor([0, 1])
    first = classification(
        prediction, labels, entropy=0.0, class_weights=torch.tensor([1.0, 0.0, 1.0, 1.0])
    )
    expected = torch.nn.functional.cross_entropy(prediction.logits[:1], labels[:1])
    torch.testing.assert_close(first, expected)
