"""Secrets that are known by their own form: keys of well-known services, private keys, bearer tokens."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

MASK = "********"


class _Form(NamedTuple):
    """How the keys of a service look: what is cheap to look for, and the whole; a first group is shown."""

    sign: str
    pattern: str


_KEYS = [
    _Form("sk-", r"sk-[A-Za-z0-9_\-]{16,}"),  # OpenAI, Anthropic, OpenRouter, DeepSeek
    _Form("k_live_", r"[srp]k_live_[A-Za-z0-9]{10,}"),  # Stripe
    _Form("k_test_", r"[srp]k_test_[A-Za-z0-9]{10,}"),
    _Form("whsec_", r"whsec_[A-Za-z0-9+/=]{20,}"),
    _Form("gh", r"gh[pousr]_[A-Za-z0-9]{16,}"),  # GitHub
    _Form("github_pat_", r"github_pat_[A-Za-z0-9_]{16,}"),
    _Form("gl", r"gl(?:pat|rt|dt|ptt|cbt|ft|soat|imt|agent|oas|ffct)-[A-Za-z0-9_\-.]{16,}"),  # GitLab
    _Form("GR1348941", r"GR1348941[A-Za-z0-9_\-]{20,}"),
    _Form("ATBB", r"ATBB[A-Za-z0-9]{24,}"),  # Bitbucket, Jira
    _Form("3xFf", r"AT[AC]TT3xFf[A-Za-z0-9_\-=]{20,}"),
    _Form("AKIA", r"AKIA[A-Z0-9]{16}"),  # AWS
    _Form("ASIA", r"ASIA[A-Z0-9]{16}"),
    _Form("AIza", r"AIza[A-Za-z0-9_\-]{30,}"),  # Google
    _Form("ya29.", r"ya29\.[A-Za-z0-9_\-]{20,}"),
    _Form("GOCSPX-", r"GOCSPX-[A-Za-z0-9_\-]{20,}"),
    _Form("1//0", r"1//0[A-Za-z0-9_\-]{30,}"),
    _Form("8Q~", r"[A-Za-z0-9_\-~.]{3}8Q~[A-Za-z0-9_\-~.]{30,}"),  # Entra ID
    _Form("xox", r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9\-]{8,}"),  # Slack
    _Form("xapp-", r"xapp-\d-[A-Za-z0-9\-]{20,}"),
    _Form(":AA", r"(?:bot)?\d{8,10}:AA[A-Za-z0-9_\-]{30,}"),  # Telegram
    _Form("SK", r"SK[0-9a-f]{32}\b"),  # Twilio
    _Form("SG.", r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{30,}"),  # SendGrid
    _Form("key-", r"key-[0-9a-f]{32}\b"),  # Mailgun
    _Form("-us", r"[0-9a-f]{32}-us\d{1,2}\b"),  # Mailchimp
    _Form("sq0", r"sq0[a-z]{3}-[A-Za-z0-9_\-]{20,}"),  # Square
    _Form("shp", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),  # Shopify
    _Form("access_token$", r"access_token\$\w{4,12}\$[a-z0-9]{8,32}\$[0-9a-f]{32}"),  # Braintree
    _Form("hf_", r"hf_[A-Za-z0-9]{20,}"),  # Hugging Face
    _Form("api_org_", r"api_org_[A-Za-z0-9]{20,}"),
    _Form("gsk_", r"gsk_[A-Za-z0-9]{20,}"),  # Groq
    _Form("r8_", r"r8_[A-Za-z0-9]{30,}"),  # Replicate
    _Form("pplx-", r"pplx-[A-Za-z0-9]{30,}"),  # Perplexity
    _Form("xai-", r"xai-[A-Za-z0-9]{40,}"),
    _Form("lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),  # LangSmith
    _Form("nvapi-", r"nvapi-[A-Za-z0-9_\-]{40,}"),  # NVIDIA
    _Form("pcsk_", r"pcsk_[A-Za-z0-9_]{40,}"),  # Pinecone
    _Form("dapi", r"dapi[0-9a-f]{32}(?:-\d{1,2})?\b"),  # Databricks
    _Form("dose", r"dose[0-9a-f]{32}\b"),
    _Form("pypi-", r"pypi-[A-Za-z0-9_\-]{30,}"),
    _Form("npm_", r"npm_[A-Za-z0-9]{30,}"),
    _Form("rubygems_", r"rubygems_[0-9a-f]{48}"),
    _Form("dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_\-]{20,}"),  # Docker Hub
    _Form("pnu_", r"pnu_[A-Za-z0-9]{20,}"),  # Prefect Cloud
    _Form("pnb_", r"pnb_[A-Za-z0-9]{20,}"),
    _Form("_v1_", r"do[opr]_v1_[0-9a-f]{64}"),  # DigitalOcean
    _Form("hv", r"hv[sbr]\.[A-Za-z0-9_\-]{20,}"),  # Vault
    _Form("HRKU-", r"HRKU-[A-Za-z0-9_\-]{30,}"),  # Heroku
    _Form("dt0", r"dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),  # Dynatrace
    _Form("gl", r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}"),  # Grafana
    _Form("gl", r"glc_[A-Za-z0-9+/]{32,}={0,2}"),
    _Form("eyJrIjoi", r"eyJrIjoi[A-Za-z0-9+/]{40,}={0,2}"),
    _Form("NRAK-", r"NRAK-[A-Z0-9]{27}"),  # New Relic
    _Form("NRAL", r"[0-9a-f]{36}NRAL\b"),
    _Form("sntrys_", r"sntry[su]_[A-Za-z0-9+/=_]{40,}"),  # Sentry
    _Form("lin_api_", r"lin_api_[A-Za-z0-9]{40}"),  # Linear
    _Form("ntn_", r"ntn_[A-Za-z0-9]{40,}"),  # Notion
    _Form("secret_", r"secret_[A-Za-z0-9]{43}\b"),
    _Form("PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),  # Postman
    _Form("figd_", r"figd_[A-Za-z0-9_\-]{30,}"),  # Figma
    _Form("pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),  # Airtable
    _Form("dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_\-.]{40,}"),  # Doppler
    _Form("tskey-", r"tskey-[a-z]{2,10}-[A-Za-z0-9\-]{20,}"),  # Tailscale
    _Form("AGE-SECRET-KEY-", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    _Form("sbp_", r"sbp_[0-9a-f]{40}"),  # Supabase
    _Form("pscale_", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_\-.]{32,}"),  # PlanetScale
    _Form(".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,}"),  # Terraform
    _Form("fm", r"fm[12][ar]?_[A-Za-z0-9+/=]{60,}"),  # Fly
    _Form("AKCp", r"AKCp[A-Za-z0-9]{60,}"),  # Artifactory
    _Form("sq", r"sq[apu]_[0-9a-f]{40}"),  # SonarQube
    _Form("LTAI", r"LTAI[A-Za-z0-9]{12,20}\b"),  # Alibaba Cloud
    _Form("AKID", r"AKID[A-Za-z0-9]{32}\b"),  # Tencent Cloud
    _Form("GOOG1E", r"GOOG1E[A-Z0-9]{55}"),  # Google, for programs that speak S3
    _Form("EAACEdEose0cBA", r"EAACEdEose0cBA[A-Za-z0-9]+"),  # Facebook
    _Form("ops_eyJ", r"ops_eyJ[A-Za-z0-9+/=]{100,}"),  # 1Password
    _Form("Private-", r"Private-(?:Lines:\s\d{1,4}\s[A-Za-z0-9+/=\s]{16,}?(?=Private-|\Z)|MAC:\s[0-9a-f]{40,})"),
]
_REST = r"[^\s\"'<>\\]+"
_PLACES = [
    _Form("hooks.slack", rf"(hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/){_REST}"),
    _Form("/webhooks/", rf"(discord(?:app)?\.com/api/(?:v\d{{1,2}}/)?webhooks/\d{{1,24}}/){_REST}"),
    _Form("office.com/webhook", rf"(office\.com/webhook(?:b2)?/){_REST}"),  # Teams
    _Form("telegram.org", rf"(api\.telegram\.org/(?:file/)?bot){_REST}"),
    _Form("jdbc:oracle", r"(jdbc:oracle:\w{1,10}:[^\s/@:]{1,64}/)[^\s@/\"']{1,200}(?=@)"),
    _Form('"username"', r'("username":\s?"[^"\n]{0,64}",\s?"key":\s?")[^"\n]+'),  # Kaggle
    _Form("login(key=", r"(login\(key=[\"'])[^\"'\n]+"),  # Weights & Biases
]
_FORMS = [(form.sign, re.compile(rf"(?<![A-Za-z0-9]){form.pattern}")) for form in (*_KEYS, *_PLACES)]
_SIGNS = re.compile("|".join(sorted({re.escape(sign) for sign, _ in _FORMS})))
_DOTTED = re.compile(
    r"\beyJ[A-Za-z0-9_.\-]+"
)  # all of it at once: a pattern with its dots would be tried over and over
_HEAD = re.compile(r"\beyJ[A-Za-z0-9_\-]{5,}")
_PEM = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BEARER = re.compile(r"\b(?P<head>(?:Bearer|Basic)\s+)(?P<secret>[A-Za-z0-9+/=_.~\-]{8,})", re.IGNORECASE)
_SHORTEST = 5  # characters of a part of a JSON web token
_LONG_PART = 12  # characters of a part of a key
_LEAST_MIXED = 4
_TWO_CASES = re.compile("[a-z][A-Z]")


def mask_forms(text: str) -> str:
    """Take out keys of well-known forms, JSON web tokens and private keys."""
    if _SIGNS.search(text):
        for sign, pattern in _FORMS:
            if sign in text:
                text = pattern.sub(_key, text)
    if "eyJ" in text:
        text = _DOTTED.sub(_web_token, text)
    return _without_private_keys(text) if "PRIVATE KEY" in text else text


def mask_bearers(text: str) -> str:
    """Take out what stands after "Bearer" or "Basic", if it is no word."""
    return _BEARER.sub(lambda found: f"{found['head']}{MASK}" if _is_made_up(found["secret"]) else found[0], text)


def _key(found: re.Match[str]) -> str:
    """Hide a key, but for what is shown of it; ``sk-`` begins words too."""
    key = found[0]
    if key.startswith("sk-") and not _is_made_up(key) and all(len(part) < _LONG_PART for part in _parts(key)):
        return key
    return f"{found[1]}{MASK}" if found.re.groups else MASK


def _is_made_up(text: str) -> bool:
    """Tell whether a text is no word and no words: it has a part that mixes letters and digits, or cases."""
    return "=" in text or any(
        (len(part) >= _LEAST_MIXED and not part.isalpha() and not part.isdigit()) or _TWO_CASES.search(part)
        for part in _parts(text)
    )


def _parts(text: str) -> list[str]:
    return re.split(r"[_\-.~]", text)


def _web_token(found: re.Match[str]) -> str:
    """Hide dotted parts if a JSON web token is among them: a head, a body, and a signature that may be empty."""
    parts = found[0].split(".")
    is_token = any(_HEAD.search(head) and len(body) >= _SHORTEST for head, body in pairwise(parts[:-1]))
    return MASK if is_token else found[0]


def _without_private_keys(text: str) -> str:
    """Hide each private key with its two lines; one that was cut hides all from its beginning, or up to its end."""
    kept, done, begun = [], 0, False
    for line in _PEM.finditer(text):
        if line[1] == "END":
            kept.append(MASK)
            done, begun = line.end(), False
        elif not begun:
            kept.append(text[done : line.start()])
            begun = True
    return "".join([*kept, MASK if begun else text[done:]])
