#pragma once

#include <functional>

#include "handlers/api.hpp"

namespace gamepicker {

/// Runs `handle`, whose refusals are HttpErrors, once for this request's Idempotency-Key and caller within 24 h; later
/// requests get the first answer again. The key is written in the transaction of the change it answers, which `handle`
/// joins: there is no moment at which one is there without the other. An answer that refuses (4xx) is remembered too; a
/// 5xx is not. Throws HttpError 400 and 409.
Response run_once(Api& api, const Request& request, const std::function<Response()>& handle);

}  // namespace gamepicker
