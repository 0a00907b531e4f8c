import { expect, it } from "vitest";

import { Hidden, isSecret } from "./hidden";

it.each([
  "APP_KEY",
  "APP_KEYS",
  "APP_KEY_2",
  "APP_KEY_BASE64",
  "APP_PREVIOUS_KEYS",
  "N8N_ENCRYPTION_KEY",
  "MEILI_MASTER_KEY",
  "RAILS_MASTER_KEY",
  "ENCRYPTIONKEY",
  "MYSQL_PWD",
  "DBPWD",
  "JWT",
  "JWT_HS256",
  "DB_PASSWORD2",
  "DB_PASSWORD_2",
  "SMTP_PASSWORDS",
  "DB_PASS1",
  "REDIS_PASS",
  "HTPASSWD",
  "GPG_PASSPHRASE",
  "SECRET_KEY_BASE",
  "GITHUB_TOKENS",
  "GITHUB_PAT",
  "NEO4J_AUTH",
  "WORDPRESS_NONCE_SALT",
  "RABBITMQ_ERLANG_COOKIE",
  "SMTP_CREDS",
  "db_password",
])("takes %s for a secret", (name) => {
  expect(isSecret([name, "x"])).toBe(true);
});

it.each([
  "PWD",
  "OLDPWD",
  "VAPID_PUBLIC_KEY",
  "STRIPE_PUBLISHABLE_KEY",
  "SSL_KEY_FILE",
  "DB_PASSWORD_FILE",
  "PASSENGER_PORT",
  "AUTHOR",
  "PATH",
  "KEYCLOAK_HOST",
])("shows %s", (name) => {
  expect(isSecret([name, "x"])).toBe(false);
});

it.each([
  "postgres://me:hush@db/x",
  "jdbc:postgresql://db/x?user=me&password=hush",
  "Server=db;User Id=sa;Password=hush;",
  "host=db password=hush",
  "me:hush@tcp(db:3306)/x",
])("takes the value %s for a secret", (value) => {
  expect(isSecret(["DB", value])).toBe(true);
  expect(new Hidden().isIn(value)).toBe(true);
});

it.each(["http://b:80/x", "user=me", "sh -c 'x password=$PW'", "me@tcp(db:3306)/x"])(
  "shows the value %s",
  (value) => {
    expect(isSecret(["DB", value])).toBe(false);
  },
);
