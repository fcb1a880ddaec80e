"""The laws of every model: a test class inherits them and says how to make one.

What holds for constructors is in `test_constructors`.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import miniatures_signs
import reference
from foveal.evaluation import chosen_windows, evaluate
from foveal.images import FileImage, TensorImage
from foveal.nn.protocols import HasRoles
from foveal.objectives import Objective, classification
from foveal.paper.data.traffic_signs import read_traffic_signs
from foveal.prediction import Prediction
from foveal.report import explanation
from foveal.runs.folder import RunFolder
from foveal.training import fit
from miniatures import settings, write

CLASSES = ("EMPTY", "50", "70", "80")

# Convolutions over another number of images may add in another order: some units in the last place.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


class ModelContract:
    """Laws of any model.

    Attributes:
        k: patches of an image.
        n: windows of an image.
        patch: their size for images of 96 x 128 px.
        close: tolerance between the same computation in batches of differing sizes.
        objective: what the model is trained with.
    """

    k: int
    n: int
    patch: tuple[int, int]
    close: Mapping[str, float] = CLOSE
    objective: Objective = staticmethod(classification)

    def make(self) -> nn.Module:
        """A small model of four classes; always the same weights."""
        raise NotImplementedError

    def make_learner(self) -> nn.Module:
        """The same in a state in which every parameter matters."""
        return self.make()

    def look(self, image: Tensor, window: tuple[int, ...]) -> Tensor:
        """What lies in a window of an image of 96 x 128 px, slowly."""
        return reference.crop(image, window, self.patch)

    def test_a_prediction_holds_the_answer_and_where_it_was_found(self) -> None:
        images = noise(2, 3, 96, 128)
        for model in (self.make().train(), self.make().eval()):
            prediction: Prediction = model(images)
            assert prediction.logits.shape == (2, 4)
            assert prediction.scores.shape == (2, self.n)
            assert prediction.windows.shape == (self.n, 4)
            assert prediction.patches.shape == (2, self.k, 3, *self.patch)
            weights = prediction.selection.weights
            torch.testing.assert_close(weights.sum(dim=2), torch.ones(2, self.k))
            assert (prediction.selection.candidates < self.n).all()

    def test_the_patches_are_what_lies_in_the_chosen_windows(self) -> None:
        images = noise(2, 3, 96, 128)
        prediction = self.make().eval()(images)
        for image, looks, windows in zip(
            images, prediction.patches, chosen_windows(prediction).tolist(), strict=True
        ):
            cut = [self.look(image, tuple(window)) for window in windows]
            torch.testing.assert_close(looks, torch.stack(cut), **CLOSE)

    def test_an_answer_does_not_depend_on_the_batch_and_repeats_itself(self) -> None:
        model = self.make().eval()
        images = (noise(5, 3, 96, 128) * 255).byte()
        with torch.inference_mode():
            together, again = model(images), model(images)
            alone = [model(image[None]) for image in images]
        assert torch.equal(together.logits, again.logits)
        logits = torch.cat([each.logits for each in alone])
        torch.testing.assert_close(logits, together.logits, **self.close)
        for b, each in enumerate(alone):
            assert torch.equal(each.selection.candidates[0], together.selection.candidates[b])

    def test_images_of_differing_sizes_answer_as_they_do_alone(self) -> None:
        model = self.make().eval()
        images = [noise(3, 96, 128), noise(3, 120, 90), noise(3, 64, 64)]
        with torch.inference_mode():
            together = model(images)
            for b, image in enumerate(images):
                alone = model([image])
                torch.testing.assert_close(together.logits[b], alone.logits[0], **self.close)
                assert torch.equal(together.windows[b], alone.windows)

    def test_uint8_tensors_and_files_are_the_same_image(self, tmp_path: Path) -> None:
        model = self.make().eval()
        pixels = (noise(3, 96, 128) * 255).byte()
        file = FileImage(write(tmp_path / "a.png", pixels))
        with torch.inference_mode():
            stored, *others = (model(i) for i in ([TensorImage(pixels)], pixels[None], [file]))
        for other in others:
            assert torch.equal(other.logits, stored.logits)

    def test_images_it_cannot_see_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 channels: got 1"):
            self.make()([noise(1, 96, 128)])
        with pytest.raises(ValueError, match=r"\(B, C, H, W\): got \(3, 96, 128\)"):
            self.make()(noise(3, 96, 128))

    def test_every_parameter_learns_from_image_labels(self) -> None:
        model = self.make_learner().train()
        images = noise(4, 3, 96, 128)
        self.objective(model(images), torch.tensor([0, 1, 2, 3])).backward()
        biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
        # the scorer's last moves all scores alike, which changes nothing but for rounding
        idle = [name for name in biases if name.startswith("scorer.")][-1:]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert name in idle or parameter.grad.abs().sum() > 0, name

    def test_in_bfloat16_what_selects_and_answers_is_not_rounded_and_every_parameter_learns(
        self,
    ) -> None:
        model = self.make_learner().train()
        with torch.autocast("cpu", torch.bfloat16):
            prediction: Prediction = model(noise(4, 3, 96, 128))
            loss = self.objective(prediction, torch.tensor([0, 1, 2, 3]))
        loss.backward()
        for value in (prediction.scores, prediction.logits):
            assert value.dtype == torch.float32
            assert value.isfinite().all()
            assert value.unique().numel() == 1 or (value.bfloat16() != value).any()
        assert prediction.patches.dtype == prediction.selection.weights.dtype == torch.float32
        biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
        idle = [name for name in biases if name.startswith("scorer.")][-1:]
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert name in idle or parameter.grad.abs().sum() > 0, name

    def test_the_roles_of_a_copy_are_its_own_parts(self) -> None:
        model = self.make()
        copied = copy.deepcopy(model)
        assert list(copied.roles()) == list(model.roles())
        assert all(copied.roles()[role] is getattr(copied, role) for role in copied.roles())

    def test_its_roles_are_parts_of_it_with_parameters(self) -> None:
        model = self.make()
        assert isinstance(model, HasRoles)
        for role, part in model.roles().items():
            assert getattr(model, role) is part
            assert list(part.parameters())
        assert set(model.roles()) == {"scorer", "encoder"} & {n for n, _ in model.named_children()}

    @pytest.mark.device
    @pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
    def test_images_on_another_device_are_moved_to_the_models(self) -> None:
        other, images = torch.accelerator.current_accelerator(), noise(2, 3, 96, 128)
        for here, there in ((other, "cpu"), ("cpu", other)):
            for mode in (True, False):
                prediction = self.make().train(mode).to(there)(images.to(here))
                tensors = torch.utils._pytree.tree_leaves(prediction)
                assert {each.device.type for each in tensors} == {torch.device(there).type}

    def test_a_forward_pass_leaves_the_mode_of_every_part(self) -> None:
        model = self.make().train()
        part = next(part for part in model.modules() if isinstance(part, nn.BatchNorm2d))
        part.eval()
        before = [each.training for each in model.modules()]
        model(noise(2, 3, 96, 128))
        assert [each.training for each in model.modules()] == before

    def test_saved_and_loaded_it_answers_the_same(self, tmp_path: Path) -> None:
        model, other = self.make().eval(), self.make().eval()
        for weights in model.parameters():
            weights.data.mul_(1.1)
        folder = RunFolder(tmp_path)
        folder.save("best", model.state_dict())
        other.load_state_dict(folder.weights("best"))
        images = noise(1, 3, 96, 128)
        assert torch.equal(model(images).logits, other(images).logits)

    def test_it_trains_and_is_judged_and_explained_on_images_in_a_real_layout(
        self, tmp_path: Path
    ) -> None:
        splits = read_traffic_signs(miniatures_signs.written(tmp_path))
        model = self.make()
        before = [weights.detach().clone() for weights in model.parameters()]
        rows = fit(
            model,
            splits,
            settings(steps=2, batch=4, warm_up=0.0, shift=3, colour=True),
            objective=self.objective,
        )
        assert rows[-1]["step"] == 2
        assert all((old != new).any() for old, new in zip(before, model.parameters(), strict=True))
        assert splits.test is not None
        report = evaluate(model, splits.test)
        assert report.n == 8
        assert report.hit_rate is not None
        example = splits.test[1]
        prediction = model.eval()([example.image])
        page = explanation(example.image, prediction, classes=CLASSES, boxes=example.boxes)
        assert page.width >= 760
