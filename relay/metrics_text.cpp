#include "relay/metrics_text.hpp"

#include <sstream>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "shared/schema.hpp"

namespace gamepicker {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kMicrosecondsPerSecond = 1e6;
constexpr double kMillisecondsPerSecond = 1e3;

/// The metrics of one scrape. They are made from our own numbers each time: the library's counters are shared between
/// threads with locked instructions, which the I/O thread is to be spared.
class Scrape {
 public:
  /// A family of one counter without labels, or the start of one whose counters labelled() adds.
  void counter(const char* name, const char* help, std::uint64_t value) {
    family(name, help, MetricType::Counter).metric.emplace_back().counter.value = static_cast<double>(value);
  }
  void counters(const char* name, const char* help) { family(name, help, MetricType::Counter); }
  void labelled(const char* label, const std::string& label_value, std::uint64_t value) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label.push_back({label, label_value});
    metric.counter.value = static_cast<double>(value);
  }

  template <typename Counters>
  void by_code(const char* label, const Counters& counters) {
    counters.each([&](std::uint16_t code, std::uint64_t value) {
      labelled(label, code == 0 ? "other" : std::to_string(code), value);
    });
  }

  ClientMetric& gauge(const char* name, const char* help, double value) {
    ClientMetric& metric = family(name, help, MetricType::Gauge).metric.emplace_back();
    metric.gauge.value = value;
    return metric;
  }

  template <typename Histogram>
  void histogram(const char* name, const char* help, const Histogram& times) {
    auto& histogram = family(name, help, MetricType::Histogram).metric.emplace_back().histogram;
    for (std::size_t i = 0; i < Histogram::kBounds.size(); ++i) {
      histogram.sample_count += times.count(i);
      histogram.bucket.push_back(
          {histogram.sample_count, static_cast<double>(Histogram::kBounds[i]) / kMicrosecondsPerSecond});
    }
    histogram.sample_count += times.count(Histogram::kBounds.size());  // the serializer adds the bucket without a bound
    histogram.sample_sum = static_cast<double>(times.sum()) / kMicrosecondsPerSecond;
  }

  std::string text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return std::move(out).str();
  }

 private:
  MetricFamily& family(const char* name, const char* help, MetricType type) {
    return families_.emplace_back(MetricFamily{std::string("gamepicker_relay_") + name, help, type, {}});
  }

  std::vector<MetricFamily> families_;
};

void add_io(Scrape& scrape, const IoMetrics& io) {
  scrape.gauge("connections", "WebSocket connections", static_cast<double>(io.connections.value()));
  scrape.gauge("subscriptions", "Memberships of clients in channels", static_cast<double>(io.subscriptions.value()));
  scrape.gauge("queue_bytes", "Bytes that wait for clients' sockets", static_cast<double>(io.queue_bytes.value()));
  scrape.counters("handshakes_total", "Answers to upgrade requests, by status; 101 is accepted");
  scrape.by_code("status", io.handshakes);
  scrape.counters("closes_total", "Ends of WebSocket connections, by close code; 1006 is one without a close frame");
  scrape.by_code("code", io.closes);
  scrape.counter("slow_closes_total", "Clients closed because their queue was full", io.slow_closes.value());
  scrape.counter("sent_frames_total", "WebSocket frames handed to sockets", io.frames.value());
  scrape.counter("sent_bytes_total", "Bytes handed to sockets", io.bytes.value());
  scrape.counter("sends_total", "Calls of sendmsg", io.sends.value());
  scrape.counters("recoveries_total", "Subscribes with an offset, by where the missed events came from");
  scrape.labelled("result", "recent", io.recovered_recent.value());
  scrape.labelled("result", "history", io.recovered_history.value());
  scrape.labelled("result", "not_recovered", io.not_recovered.value());
  scrape.histogram("tick_seconds", "Work of one tick of the I/O loop", io.tick_time);
  scrape.histogram("commit_to_socket_seconds",
                   "From writing an event to handing it to the socket of its last subscriber", io.commit_to_socket);
}

void add_reader(Scrape& scrape, const ReaderMetrics& reader) {
  scrape.histogram("event_lag_seconds", "From writing an event, by the database's clock, to reading it",
                   reader.event_lag);
  scrape.counter("nudges_total", "Nudges received", reader.nudges.value());
  scrape.counters("gap_fills_total", "Events that were not read in order, by how they were found");
  scrape.labelled("kind", "hole", reader.filled_holes.value());
  scrape.labelled("kind", "fetch", reader.filled_fetched.value());
  scrape.labelled("kind", "head", reader.filled_by_head.value());
}

void add_webhooks(Scrape& scrape, const WebhookMetrics& webhooks) {
  scrape.counters("webhook_attempts_total", "Attempts of webhook deliveries, by outcome");
  scrape.labelled("outcome", "delivered", webhooks.delivered.value());
  scrape.labelled("outcome", "retry", webhooks.retried.value());
  scrape.labelled("outcome", "failed", webhooks.failed.value());
  scrape.labelled("outcome", "gone", webhooks.gone.value());
  scrape.gauge("webhook_pending_deliveries", "Webhook deliveries still owed, counted up to 100000",
               static_cast<double>(webhooks.pending.value()));
  scrape.gauge("webhook_oldest_pending_seconds", "Age of the oldest webhook delivery still owed",
               static_cast<double>(webhooks.oldest_age.value()) / kMillisecondsPerSecond);
}

void add_relay_events(Scrape& scrape, const RelayEventMetrics& events) {
  scrape.counters("relay_events_total", "What clients did and webhooks were to hear of, by what became of it");
  scrape.labelled("result", "written", events.written.value());
  scrape.labelled("result", "dropped", events.dropped.value());
}

void add_database_errors(Scrape& scrape, const Metrics& metrics) {
  scrape.counters("database_errors_total", "Failed uses of the database, by part of the relay");
  scrape.labelled("part", "event_reader", metrics.reader.errors.value());
  scrape.labelled("part", "history", metrics.history_errors.value());
  scrape.labelled("part", "client_events", metrics.client_event_errors.value());
  scrape.labelled("part", "webhook_queue", metrics.webhooks.queue_errors.value());
  scrape.labelled("part", "webhook_outcomes", metrics.webhooks.finish_errors.value());
  scrape.labelled("part", "relay_events", metrics.relay_events.errors.value());
  scrape.labelled("part", "presence", metrics.presence_errors.value());
  scrape.labelled("part", "polls", metrics.poll_errors.value());
  scrape.labelled("part", "retention", metrics.retention_errors.value());
  scrape.labelled("part", "recovery", metrics.recovery_errors.value());
}

}  // namespace

std::string metrics_text(const Metrics& metrics) {
  Scrape scrape;
  scrape.gauge("info", "Always 1", 1).label.push_back({"schema_version", std::to_string(kSchemaVersion)});
  add_io(scrape, metrics.io);
  add_reader(scrape, metrics.reader);
  add_webhooks(scrape, metrics.webhooks);
  add_relay_events(scrape, metrics.relay_events);
  add_database_errors(scrape, metrics);
  return scrape.text();
}

}  // namespace gamepicker
