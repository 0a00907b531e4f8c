# Requests /health from the service, with bash because the image has no curl. Exits with 1 unless it answers 200.
exec 3<>"/dev/tcp/127.0.0.1/${PORT:-8080}" || exit 1
printf 'GET /health HTTP/1.0\r\n\r\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ] || { echo "/health answered ${status:-nothing}"; exit 1; }
