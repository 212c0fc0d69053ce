"""The application that is measured: a JSON view of Flask."""

from flask import Flask, jsonify, request

application = Flask(__name__)


@application.get("/item/<int:number>")
def item(number):
    return jsonify(number=number, name=f"item {number}", page=request.args.get("page", "1"))
