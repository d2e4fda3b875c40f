"""What the contract says that no model shows: its server, and the shape of each answer as JSON schema."""

from typing import Any, Final

SERVER: Final[str] = "https://duomiapi.com"

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "GET /v1/videos/tasks/{task_id}": {
        "200": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "state": {"type": "string", "enum": ["pending", "running", "succeeded", "error"]},
                "data": {
                    "type": "object",
                    "properties": {
                        "videos": {
                            "type": "array",
                            "items": {"type": "object", "properties": {"url": {"type": "string"}}},
                        }
                    },
                    "required": ["videos"],
                },
                "progress": {"type": "integer"},
                "create_time": {"type": "integer"},
                "update_time": {"type": "integer"},
                "message": {"type": "string"},
                "action": {"type": "string", "enum": ["generate", "remix"]},
            },
            "required": ["id", "state", "data", "progress", "create_time", "update_time", "message", "action"],
        }
    }
}
