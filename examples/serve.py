"""A page to drop a picture on, which answers with its class and shows where the model looked.

RUN=runs/mine uvicorn serve:app --app-dir examples    # takes the packages fastapi and uvicorn
RUN=runs/mine THRESHOLD=0.2 uvicorn ...               # or THRESHOLD=validation
"""

import base64
import io
import os
import tempfile

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from PIL import Image, ImageDraw

import foveal

PAGE = """<!doctype html><meta charset="utf-8"><title>foveal</title>
<body style="font: 18px sans-serif"><p id="says">Drop a picture here.</p>
<img id="seen" style="max-width: 100%"><script>document.ondragover = e => e.preventDefault();
document.ondrop = async e => { e.preventDefault(); says.textContent = "...";
  const reply = await fetch("predict", {method: "POST", body: e.dataTransfer.files[0]}),
    {detail, label, probability, picture} = await reply.json(); seen.src = picture ?? "";
  says.textContent = detail ?? `${label}: ${(100 * probability).toFixed(1)} %`; }</script>"""
app, run = FastAPI(), foveal.load(os.environ["RUN"])
asked = os.getenv("THRESHOLD")
threshold = asked if asked in (None, "validation") else float(asked)
app.get("/", response_class=HTMLResponse)(lambda: PAGE)


@app.post("/predict")
async def predict(request: Request) -> dict[str, object]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(await request.body())
        file.flush()
        if (result := run.predict(file.name, threshold=threshold)[0]).error:
            raise HTTPException(422, result.error.replace(file.name, "the picture"))
        picture = Image.fromarray(foveal.images.read(file.name).movedim(0, 2).numpy())
    for top, left, bottom, right in result.windows:
        ImageDraw.Draw(picture).rectangle((left, top, right, bottom), None, "red", 3)
    picture.save(jpeg := io.BytesIO(), "JPEG")
    url = "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()
    return {"label": result.label, "probability": result.probability, "picture": url}
