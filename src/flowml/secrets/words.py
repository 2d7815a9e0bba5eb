"""The words in names: which say that a value is a secret, and which say that it is something about one."""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


STEMS = _set("""
    pass pwd pw pin otp cv mdp secret token key code cred dsn auth bearer jwt cookie sess connect.sid csrf xsrf conn sig
    wort senha contrase wachtwoord пароль 密 パスワード 비밀 has heslo senord ifre parola geheim clave
""")
"""One of these is in each secret's name, in lower case: a text without them need not be searched."""

SECRETS = _set("""
    password passwords passwd passwort pwd passphrase passcode passkey kennwort senha senhas contraseña contrasena
    wachtwoord пароль 密码 密碼 パスワード 비밀번호 hasło haslo lösenord losenord heslo şifre sifre parola geheimnis
    secret secrets token apikey credential credentials creds dsn auth oauth authorization bearer jwt cookie cookies
    accesskey privatekey secretkey accesstoken authtoken otp totp cvv cvc mdp sessionid sessid csrf xsrf csrftoken
""")
"""Each of these words makes a name one of a secret."""

ANYWHERE = ("password", "passwd", "passwort", "apikey", "secretkey", "sessid", "sessionid")
"""So do these inside of a word."""

PHRASES = ("mot de passe", "clave secreta", "connect sid")
"""And these words in a row."""

NO_SECRETS = ("result storage key",)
"""These words in a row make it none: Prefect calls the place of a result so."""

KEYS = _set("""
    api access private secret signing encryption encrypt decryption ssh account service master auth shared sas storage
    subscription rsa pgp gpg hmac aes fernet app application license licence consumer deploy admin session webhook
    activation backup bot write root functions function host functions function host
    openai anthropic cohere mistral huggingface hf wandb comet neptune kaggle stripe twilio sendgrid mailgun datadog
    aws azure gcp google github gitlab slack databricks snowflake pinecone prefect sentry cloudflare tavily serpapi
""")
"""Before "key" they make it one that opens something, unlike the keys of tables, mappings and caches."""

PASSES = _set("""
    db user smtp mail email imap ftp sftp mysql pg postgres sql database redis mongo rabbitmq amqp ldap admin root login
    my proxy http basic ssh key cert keystore truststore sudo become app service api
""")
"""Before "pass" or "pw" they make it a password."""

CODES = _set("recovery security backup verification pin pass access auth authentication otp mfa")
"""Before "code" they make it one that opens something."""

NUMBERS = _set("""
    password passwd passwort pwd pw passphrase passcode secret token credential apikey pin otp cvv cvc kennwort
""")
"""At the end of a name, they say that a number is a secret too."""

PIECES = _set("""
    n num number max min mean avg total budget index rate loss accuracy embedding pad eos bos unk mask sep cls per vocab
    special prob classification classifier pattern patterns regex next prev previous first last start begin stop end
    image audio video patch prefix suffix decoder encoder
""")
"""With these, "token" is a piece of text rather than a key to something."""

ABOUT = _set("""
    type types count counts len length limit size name names field fields column columns col cols file files filename
    path paths dir directory folder url uri endpoint host domain scope scopes policy method mode scheme enabled disabled
    required expiry expires expired expiration ttl age version versions algorithm alg format provider backend issuer
    audience env var variable header headers arn ref reference manager store class cls kind timeout attempts retries
    status state strategy score strength rate ratio stdin prompt hint label alias description error exception warning
    id ids in at
""")
"""At the end of a name, they say that the value is about a secret: its kind, its place, its length."""
