#!/bin/sh
# say-where.sh: prints the address of each running service and where its key is.
set -eu
at() { docker compose port "$1" "$2" 2>/dev/null | sed 's/^/http:\/\//'; }
line() { [ -z "$2" ] || printf '%-12s%-32s%s\n' "$1" "$2" "$3"; }
line API "$(at api 8080)/docs" "key: STACK_API_KEY in .env; more: docker compose exec api closedloop key add NAME"
line MLflow "$(at mlflow 5000)" "admin, MLFLOW_ADMIN_PASSWORD in .env"
line Prefect "$(at prefect-server 4200)" "PREFECT_AUTH_STRING in .env"
line Prometheus "$(at prometheus 9090)" ""
line Grafana "$(at grafana 3000)" "admin, GRAFANA_PASSWORD in .env"
echo "commands    docker compose exec prefect-worker closedloop status"
