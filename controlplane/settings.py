"""Django's settings, all derived from `controlplane.env`."""

from __future__ import annotations

from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from controlplane.database import database_from_url
from controlplane.env import PROJECT_DIR, control_settings
from controlplane.ui.theme import UNFOLD  # noqa: F401 - a setting of its own

env = control_settings()


def _secret_key() -> str:
    try:
        return env.secrets.read("secret_key").decode()
    except FileNotFoundError as error:
        raise ImproperlyConfigured(str(error)) from None


BASE_DIR: Path = PROJECT_DIR
DEBUG = env.debug
SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env.allowed_hosts
CSRF_TRUSTED_ORIGINS = env.csrf_trusted_origins
ROOT_URLCONF = "controlplane.urls"
ASGI_APPLICATION = "controlplane.asgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "controlplane.ui.formats"

INSTALLED_APPS = [
    # Before unfold, so that its templates can be replaced one by one.
    "controlplane.ui.apps.UiConfig",
    # Basic: the site is ours (ui.site), not the one that unfold would put in its place.
    "unfold.apps.BasicAppConfig",
    "controlplane.ui.apps.ControlPlaneAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "controlplane.audit",
    "controlplane.accounts",
    "controlplane.registry",
    "controlplane.access",
    "controlplane.fleet",
    "controlplane.usage",
    "controlplane.snapshots",
    "controlplane.quickstart",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database_from_url(env.database_url or f"sqlite:///{env.state_dir}/controlplane.sqlite3")}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.secure_cookies
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "/static/"
# Straight from the packages, so no collectstatic step stands between an upgrade and a working admin.
SERVESTATIC_USE_FINDERS = True
# An upload goes to disk from 2.5 MB on, never whole into memory.
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
DATA_UPLOAD_MAX_MEMORY_SIZE = 10_485_760

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "controlplane.accounts.rest.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 100,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "controlplane.accounts.rest.errors.handle_exception",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Triton control plane",
    "DESCRIPTION": "Models, versions, keys, pools and servers of a fleet of NVIDIA Triton inference servers.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "VersionState": "controlplane.registry.domain.VersionState",
        "PublicationKind": "controlplane.fleet.domain.PublicationKind",
        "PublicationState": "controlplane.fleet.domain.PublicationState",
        "ServerState": "controlplane.fleet.domain.ServerState",
        "PlacementState": "controlplane.fleet.domain.PlacementState",
        "StepState": "controlplane.fleet.domain.StepState",
        "UploadState": "controlplane.registry.domain.UploadState",
        "ImportState": "controlplane.registry.domain.ImportState",
    },
}

CELERY_BROKER_URL = env.redis_url.replace("unix://", "redis+socket://", 1)
# The database says what is to be done and what came of it; a result backend would be a second truth.
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A write must not wait for a broker that is away: the controller hands out again what was not delivered.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": 2,
    "socket_timeout": 10,
    "visibility_timeout": 3600,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "controlplane"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BEAT_SCHEDULE = {
    # Where no worker took one in that time, the next one does the same.
    "tend-pools": {"task": "fleet.tend_pools", "schedule": 600.0, "options": {"expires": 300.0}},
    "expire-uploads": {"task": "registry.expire_uploads", "schedule": 600.0, "options": {"expires": 300.0}},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.log_level},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # Anybody can send a wrong Host header; the refusal is answered, a trace for each would drown the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
