"""The service: answers with the production model, records every answer, follows the registry."""
