"""The closed list of what can go wrong: code, HTTP status and a sentence in two languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """Every code a client can meet, in a reply or in a record's `error_code`."""

    INVALID_JSON = "invalid_json"
    MISSING_API_KEY = "missing_api_key"
    INVALID_API_KEY = "invalid_api_key"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    GONE = "gone"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    INVALID_INPUT = "invalid_input"
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_MODEL = "unknown_model"
    UNSUPPORTED_PROMPT = "unsupported_prompt"
    UNSUPPORTED_BY_MODEL = "unsupported_by_model"
    MODEL_UNAVAILABLE = "model_unavailable"
    NOT_RENDERABLE = "not_renderable"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    RATE_LIMITED = "rate_limited"
    QUEUE_FULL = "queue_full"
    SERVICE_UNAVAILABLE = "service_unavailable"
    STORAGE_FULL = "storage_full"
    STORAGE_QUOTA = "storage_quota"
    INPUT_REFUSED = "input_refused"
    INPUT_UNREACHABLE = "input_unreachable"
    INPUT_TOO_LARGE = "input_too_large"
    NOT_AN_IMAGE = "not_an_image"
    NOT_A_VIDEO = "not_a_video"
    VIDEO_TOO_LONG = "video_too_long"
    NO_FRAMES_IN_RANGE = "no_frames_in_range"
    PROMPT_OUTSIDE = "prompt_outside"
    OUTPUT_TOO_LARGE = "output_too_large"
    DECODE_TIMEOUT = "decode_timeout"
    OUT_OF_MEMORY = "out_of_memory"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    WORKER_LOST = "worker_lost"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What a code means: its HTTP status, its title and sentence in English and Chinese.

    `retryable` tells whether the same work may succeed when a worker tries it again.
    """

    status: int
    title: str
    sentence: str
    title_zh: str
    sentence_zh: str
    retryable: bool = False


C = ErrorCode
ERRORS: Mapping[ErrorCode, ErrorKind] = {
    C.INVALID_JSON: ErrorKind(
        400,
        "Not JSON",
        "The body is not a JSON object.",
        "不是 JSON",
        "请求体不是 JSON 对象。",
    ),
    C.MISSING_API_KEY: ErrorKind(
        401,
        "API key missing",
        "Send the header `Authorization: Bearer gk_…`.",
        "缺少 API 密钥",
        "请发送请求头 `Authorization: Bearer gk_…`。",
    ),
    C.INVALID_API_KEY: ErrorKind(
        401,
        "API key not accepted",
        "This API key is unknown, expired or revoked.",
        "API 密钥无效",
        "该 API 密钥不存在、已过期或已被吊销。",
    ),
    C.INSUFFICIENT_SCOPE: ErrorKind(
        403,
        "Scope missing",
        "This API key lacks the scope that the route needs.",
        "权限范围不足",
        "该 API 密钥没有此接口所需的权限范围。",
    ),
    C.NOT_FOUND: ErrorKind(
        404, "Not found", "There is nothing at this address.", "未找到", "此地址没有任何内容。"
    ),
    C.METHOD_NOT_ALLOWED: ErrorKind(
        405,
        "Method not allowed",
        "This address does not take that method; the header `Allow` names those it takes.",
        "不允许的方法",
        "此地址不支持该方法；可用方法见响应头 `Allow`。",
    ),
    C.GONE: ErrorKind(
        410,
        "No longer kept",
        "This file has expired or was deleted.",
        "已不再保留",
        "该文件已过期或已被删除。",
    ),
    C.PAYLOAD_TOO_LARGE: ErrorKind(
        413,
        "Body too large",
        "The body is larger than this service accepts.",
        "请求体过大",
        "请求体超过了本服务允许的大小。",
    ),
    C.UNSUPPORTED_MEDIA_TYPE: ErrorKind(
        415,
        "Media type not supported",
        "The data is of a type that this route does not take.",
        "不支持的媒体类型",
        "此接口不接受该类型的数据。",
    ),
    C.RANGE_NOT_SATISFIABLE: ErrorKind(
        416,
        "Range not satisfiable",
        "The range lies outside the file; the header `Content-Range` tells its size.",
        "范围无法满足",
        "请求的范围超出文件；文件大小见响应头 `Content-Range`。",
    ),
    C.INVALID_INPUT: ErrorKind(
        422,
        "Input not valid",
        "The input breaks a rule of the contract; `errors` names each field.",
        "输入无效",
        "输入不符合接口约定；`errors` 列出了每个字段的问题。",
    ),
    C.UNKNOWN_PROVIDER: ErrorKind(
        422,
        "Unknown provider",
        "This service does not offer that provider.",
        "未知的提供方",
        "本服务没有该提供方。",
    ),
    C.UNKNOWN_MODEL: ErrorKind(
        422,
        "Unknown model",
        "This service does not offer that model.",
        "未知的模型",
        "本服务没有该模型。",
    ),
    C.UNSUPPORTED_PROMPT: ErrorKind(
        422,
        "Prompt not supported",
        "The model does not know what the prompt names.",
        "不支持的提示词",
        "模型不认识该提示词所指的对象。",
    ),
    C.UNSUPPORTED_BY_MODEL: ErrorKind(
        422,
        "Not something this model does",
        "The model cannot do what the input asks for; `errors` names each field.",
        "模型不支持",
        "该模型做不到输入所要求的；`errors` 列出了相关字段。",
    ),
    C.MODEL_UNAVAILABLE: ErrorKind(
        503,
        "Model not installed",
        "The weights of this model are not installed here.",
        "模型未安装",
        "此处未安装该模型的权重。",
        retryable=True,
    ),
    C.NOT_RENDERABLE: ErrorKind(
        422,
        "Nothing to render",
        "This prediction has no finished masks that could be rendered.",
        "没有可渲染的内容",
        "该任务没有可供渲染的已完成掩码。",
    ),
    C.IDEMPOTENCY_MISMATCH: ErrorKind(
        422,
        "Idempotency key used before",
        "This idempotency key was used within the last day with another body.",
        "幂等键已被使用",
        "该幂等键在过去一天内已用于不同的请求体。",
    ),
    C.RATE_LIMITED: ErrorKind(
        429,
        "Too many predictions",
        "This API key has as many predictions open as it may have; try again later.",
        "任务过多",
        "该 API 密钥未完成的任务已达上限，请稍后再试。",
        retryable=True,
    ),
    C.QUEUE_FULL: ErrorKind(
        503,
        "Queue full",
        "Too many predictions are waiting; try again later.",
        "队列已满",
        "等待中的任务过多，请稍后再试。",
        retryable=True,
    ),
    C.SERVICE_UNAVAILABLE: ErrorKind(
        503,
        "Service unavailable",
        "The database or the file store cannot be reached; try again later.",
        "服务不可用",
        "无法连接数据库或文件存储，请稍后再试。",
        retryable=True,
    ),
    C.STORAGE_FULL: ErrorKind(
        503,
        "No room left",
        "The file store has no room left; try again later.",
        "存储空间不足",
        "文件存储已没有空间，请稍后再试。",
        retryable=True,
    ),
    C.STORAGE_QUOTA: ErrorKind(
        507,
        "Storage quota used up",
        "Your organisation has stored as much as it may.",
        "存储配额已用完",
        "您的组织存储的数据已达上限。",
    ),
    C.INPUT_REFUSED: ErrorKind(
        422,
        "Address refused",
        "The address of the input may not be fetched from here.",
        "地址被拒绝",
        "不允许从此处获取该输入地址。",
    ),
    C.INPUT_UNREACHABLE: ErrorKind(
        422,
        "Input unreachable",
        "The input could not be fetched.",
        "无法获取输入",
        "无法获取输入文件。",
    ),
    C.INPUT_TOO_LARGE: ErrorKind(
        422,
        "Input too large",
        "The input is larger than this service accepts.",
        "输入过大",
        "输入超过了本服务允许的大小。",
    ),
    C.NOT_AN_IMAGE: ErrorKind(
        422,
        "Not a readable image",
        "The data is not an image that can be read.",
        "不是可读取的图片",
        "该数据不是可读取的图片。",
    ),
    C.NOT_A_VIDEO: ErrorKind(
        422,
        "Not a readable video",
        "The data is not a video that can be read.",
        "不是可读取的视频",
        "该数据不是可读取的视频。",
    ),
    C.VIDEO_TOO_LONG: ErrorKind(
        422,
        "Video too long",
        "The video is longer than this service accepts.",
        "视频过长",
        "视频超过了本服务允许的长度。",
    ),
    C.NO_FRAMES_IN_RANGE: ErrorKind(
        422,
        "No frames in range",
        "No frame lies between start_time and end_time.",
        "范围内没有帧",
        "start_time 与 end_time 之间没有任何帧。",
    ),
    C.PROMPT_OUTSIDE: ErrorKind(
        422,
        "Prompt outside the picture",
        "A point or a box lies outside the picture.",
        "提示位于画面之外",
        "有点或框位于画面之外。",
    ),
    C.OUTPUT_TOO_LARGE: ErrorKind(
        422,
        "Result too large",
        "The result would be larger than this service makes.",
        "结果过大",
        "结果会超过本服务允许的大小。",
    ),
    C.DECODE_TIMEOUT: ErrorKind(
        422,
        "Decoding took too long",
        "Decoding the file made no progress, or took longer than one file may.",
        "解码超时",
        "文件的解码没有进展，或超过了单个文件允许的时间。",
    ),
    C.OUT_OF_MEMORY: ErrorKind(
        500,
        "Out of memory",
        "The worker ran out of memory.",
        "内存不足",
        "工作进程内存不足。",
        retryable=True,
    ),
    C.DEADLINE_EXCEEDED: ErrorKind(
        504,
        "Deadline exceeded",
        "The prediction was not finished by its deadline.",
        "超过截止时间",
        "任务未能在截止时间前完成。",
    ),
    C.WORKER_LOST: ErrorKind(
        500,
        "Workers lost",
        "Workers died too often while working on this prediction.",
        "工作进程丢失",
        "处理该任务的工作进程多次异常退出。",
        retryable=True,
    ),
    C.INTERNAL: ErrorKind(
        500,
        "Internal error",
        "Something broke on our side; quote the request id when you report it.",
        "内部错误",
        "服务内部出错；反馈时请附上请求编号。",
        retryable=True,
    ),
}
del C


@dataclass(frozen=True, slots=True)
class Problem:
    """One field at fault: a JSON pointer into the body and a sentence about it."""

    pointer: str
    detail: str


class Refusal(Exception):  # noqa: N818 - it is an answer to a client, not a fault of ours
    """The asked-for thing cannot be done, told in a code of the closed list and a sentence.

    `detail` defaults to the code's sentence; `detail_zh` is its Chinese form, where there is one.
    `headers` go out with an HTTP answer.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str | None = None,
        *,
        detail_zh: str | None = None,
        problems: tuple[Problem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        kind = ERRORS[code]
        self.code = code
        self.kind = kind
        self.detail = detail or kind.sentence
        self.detail_zh = detail_zh or kind.sentence_zh
        self.problems = problems
        self.headers = dict(headers or {})
        super().__init__(f"{code}: {self.detail}")
