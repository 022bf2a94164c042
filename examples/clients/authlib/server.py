"""
A server-rendered application on Authlib and requests: code flow with PKCE, state and nonce, userinfo, refresh,
and revocation.
Settings: ISSUER, CLIENT_ID, CLIENT_SECRET, BASE_URL (this application's own origin); AUTHLIB_INSECURE_TRANSPORT=1 for http.
"""

import json
import os
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_urlsafe
from urllib.parse import urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, JsonWebToken
from authlib.oidc.core import CodeIDToken

ISSUER, BASE_URL = os.environ["ISSUER"], os.environ["BASE_URL"]
CLIENT_ID, CLIENT_SECRET = os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]
CALLBACK = f"{BASE_URL}/callback"

METADATA = requests.get(f"{ISSUER}/.well-known/openid-configuration", timeout=10).json()
# What a browser's cookie stands for: a sign-in under way, or who is signed in. Use your framework's store instead.
SESSIONS = {}


def client(**more):
    """One for each use: it keeps the token of one person."""
    return OAuth2Session(
        CLIENT_ID,
        CLIENT_SECRET,
        token_endpoint=METADATA["token_endpoint"],
        token_endpoint_auth_method="client_secret_basic",
        redirect_uri=CALLBACK,
        scope="openid profile email offline_access",
        code_challenge_method="S256",
        **more,
    )


def verified(token, nonce):
    """The claims of the ID token, once signature, issuer, audience, time, nonce and at_hash are right."""
    keys = JsonWebKey.import_key_set(requests.get(METADATA["jwks_uri"], timeout=10).json())
    claims = JsonWebToken(["ES256"]).decode(
        token["id_token"],
        keys,
        claims_cls=CodeIDToken,
        claims_options={
            "iss": {"essential": True, "value": ISSUER},
            "aud": {"essential": True, "value": CLIENT_ID},
        },
        claims_params={"nonce": nonce, "client_id": CLIENT_ID, "access_token": token["access_token"]},
    )
    claims.validate(leeway=60)
    return claims


class Application(BaseHTTPRequestHandler):
    def do_GET(self):
        page = PAGES.get(urlsplit(self.path).path)
        try:
            if page is None:
                self.answer(404, {"error": "there is no such page"})
            else:
                page(self)
        except Exception as error:  # an OAuth error (RFC 6749 §5.2) says its code and description
            self.answer(400, {"error": str(error)})

    def home(self):
        session = SESSIONS.get(self.cookie(), {})
        if "claims" not in session:
            return self.answer(401, {"signed_in": False, "start": "/login"})
        answer = client(token=session["token"]).get(METADATA["userinfo_endpoint"])
        answer.raise_for_status()
        userinfo = answer.json()
        if userinfo["sub"] != session["claims"]["sub"]:
            raise ValueError("userinfo speaks of somebody else")
        self.answer(200, userinfo)

    def login(self):
        attempt = {"verifier": token_urlsafe(48), "nonce": token_urlsafe(24)}
        url, attempt["state"] = client().create_authorization_url(
            METADATA["authorization_endpoint"],
            code_verifier=attempt["verifier"],
            nonce=attempt["nonce"],
            # With offline_access: a refresh token for whoever agrees to it (OpenID Connect Core §11).
            prompt="consent",
        )
        self.go(url, attempt)

    def callback(self):
        attempt = SESSIONS.pop(self.cookie(), {})
        if "verifier" not in attempt:
            raise ValueError("this sign-in was not started here")
        token = client(state=attempt["state"]).fetch_token(
            authorization_response=f"{BASE_URL}{self.path}", code_verifier=attempt["verifier"]
        )
        self.go("/", {"token": token, "claims": verified(token, attempt["nonce"])})

    def refresh(self):
        session = SESSIONS[self.cookie()]
        session["token"] = client().refresh_token(
            METADATA["token_endpoint"], refresh_token=session["token"]["refresh_token"]
        )
        self.go("/", session)

    def logout(self):
        session = SESSIONS.pop(self.cookie(), None)
        if session is not None:
            client().revoke_token(METADATA["revocation_endpoint"], session["token"]["refresh_token"])
        self.answer(200, {"signed_in": False, "start": "/login"})

    def cookie(self):
        morsel = SimpleCookie(self.headers.get("cookie", "")).get("authlib")
        return morsel.value if morsel else None

    def go(self, location, session):
        """A new id at each step, against session fixation."""
        session_id = token_urlsafe(32)
        SESSIONS[session_id] = session
        secure = "; Secure" if BASE_URL.startswith("https:") else ""
        self.send_response(302)
        self.send_header("location", location)
        self.send_header("set-cookie", f"authlib={session_id}; HttpOnly; SameSite=Lax; Path=/{secure}")
        self.end_headers()

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        """The addresses of callbacks hold codes: they are not logged."""


PAGES = {
    "/": Application.home,
    "/login": Application.login,
    "/callback": Application.callback,
    "/refresh": Application.refresh,
    "/logout": Application.logout,
}

print(f"Authlib: {BASE_URL}", flush=True)
ThreadingHTTPServer(("127.0.0.1", urlsplit(BASE_URL).port), Application).serve_forever()
