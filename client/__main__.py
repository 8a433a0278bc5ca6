"""``python -m knative_lambda.client`` is the command ``knative-lambda``."""

from knative_lambda.client.command import main

if __name__ == "__main__":
    main(prog_name="knative-lambda")
