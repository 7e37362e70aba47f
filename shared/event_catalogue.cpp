#include "shared/event_catalogue.hpp"

#include <algorithm>

namespace gamepicker {
namespace {

// Pieces of the schemas. All members are always there; later versions may add more.
#define OBJECT(required, properties) R"({"type":"object","required":[)" required R"(],"properties":{)" properties "}}"
#define ANY "{}"
#define BOOLEAN R"({"type":"boolean"})"
#define COUNT R"({"type":"integer","minimum":0})"
#define INTEGER R"({"type":"integer"})"
#define MAYBE_COUNT R"({"type":["integer","null"],"minimum":0})"
#define MAYBE_TEXT R"({"type":["string","null"]})"
#define TEXT R"({"type":"string"})"
#define TEXTS R"({"type":"array","items":{"type":"string"}})"
#define TIME R"({"type":"string","format":"date-time"})"
#define ID R"({"type":"integer","minimum":0})"

/// The members all events of a session's game share.
#define SESSION_GAME_NAMES R"("sessionId","gameId")"
#define SESSION_GAME R"("sessionId":)" ID R"(,"gameId":)" ID
#define ROOM_NAMES SESSION_GAME_NAMES R"(,"roomCode")"
#define ROOM SESSION_GAME R"(,"roomCode":{"type":"string","pattern":"^[A-Z0-9]{4}$"})"
#define SOCKET R"("socketId":)" TEXT
#define GAME R"("id":)" ID R"(,"title":)" TEXT R"(,"pack_name":)" TEXT

constexpr char kGameAdded[] = OBJECT(
    R"("session","game")",
    R"("session":)" OBJECT(
        R"("id","is_active","games_played")",
        R"("id":)" ID
        R"(,"is_active":{"const":true},"games_played":)" COUNT) R"(,"game":)" OBJECT(R"("id","title","pack_name","min_players","max_players","manually_added","room_code")",
                                                                                     GAME
                                                                                     R"(,"min_players":)" COUNT
                                                                                     R"(,"max_players":)" COUNT
                                                                                     R"(,"manually_added":)" BOOLEAN
                                                                                     R"(,"room_code":)" MAYBE_TEXT));

constexpr char kSessionStarted[] =
    OBJECT(R"("session")", R"("session":)" OBJECT(R"("id","is_active","created_at","notes")",
                                                  R"("id":)" ID R"(,"is_active":{"const":1},"created_at":)" TIME
                                                  R"(,"notes":)" MAYBE_TEXT));

constexpr char kSessionEnded[] =
    OBJECT(R"("session")", R"("session":)" OBJECT(R"("id","is_active","games_played")",
                                                  R"("id":)" ID R"(,"is_active":{"const":0},"games_played":)" COUNT));

constexpr char kPlayerCount[] = OBJECT(SESSION_GAME_NAMES R"(,"playerCount","status")",
                                       SESSION_GAME R"(,"playerCount":)" COUNT R"(,"status":)" TEXT);

constexpr char kVote[] = OBJECT(
    R"("sessionId","game","vote","totals")",
    R"("sessionId":)" ID R"(,"game":)" OBJECT(R"("id","title","pack_name")", GAME) R"(,"vote":)" OBJECT(
        R"("username","type","timestamp")",
        R"("username":)" TEXT
        R"(,"type":{"enum":["up","down"]},"timestamp":)" TEXT) R"(,"totals":)" OBJECT(R"("upvotes","downvotes","popularity_score")",
                                                                                      R"("upvotes":)" COUNT
                                                                                      R"(,"downvotes":)" COUNT
                                                                                      R"(,"popularity_score":)" INTEGER));

constexpr char kStatusChanged[] =
    OBJECT(SESSION_GAME_NAMES R"(,"status")", SESSION_GAME R"(,"status":{"enum":["playing","played","skipped"]})");

constexpr char kVotingEnded[] = OBJECT(R"("sessionId","winnerGameId","winnerLabel","winnerVotes")",
                                       R"("sessionId":)" ID R"(,"winnerGameId":)" MAYBE_COUNT
                                       R"(,"winnerLabel":)" MAYBE_TEXT R"(,"winnerVotes":)" MAYBE_COUNT);

constexpr char kRoomConnected[] =
    OBJECT(ROOM_NAMES R"(,"appTag","maxPlayers","playerCount","players","lobbyState","gameState")",
           ROOM R"(,"appTag":)" MAYBE_TEXT R"(,"maxPlayers":)" MAYBE_COUNT R"(,"playerCount":)" COUNT
                R"(,"players":)" TEXTS R"(,"lobbyState":)" MAYBE_TEXT R"(,"gameState":)" MAYBE_TEXT);

constexpr char kPlayerJoined[] =
    OBJECT(ROOM_NAMES R"(,"playerName","playerCount","players","maxPlayers")", ROOM
           R"(,"playerName":)" TEXT R"(,"playerCount":)" COUNT R"(,"players":)" TEXTS R"(,"maxPlayers":)" MAYBE_COUNT);

constexpr char kLobbyUpdated[] = OBJECT(ROOM_NAMES R"(,"lobbyState","gameCanStart","gameIsStarting","playerCount")",
                                        ROOM R"(,"lobbyState":)" MAYBE_TEXT R"(,"gameCanStart":)" BOOLEAN
                                             R"(,"gameIsStarting":)" BOOLEAN R"(,"playerCount":)" COUNT);

constexpr char kGameStarted[] =
    OBJECT(ROOM_NAMES R"(,"playerCount","players","maxPlayers")",
           ROOM R"(,"playerCount":)" COUNT R"(,"players":)" TEXTS R"(,"maxPlayers":)" MAYBE_COUNT);

constexpr char kGameEnded[] =
    OBJECT(ROOM_NAMES R"(,"playerCount","players")", ROOM R"(,"playerCount":)" COUNT R"(,"players":)" TEXTS);

constexpr char kRoomDisconnected[] = OBJECT(
    ROOM_NAMES R"(,"reason","finalPlayerCount")",
    ROOM R"(,"reason":{"enum":["room_closed","room_not_found","connection_failed","role_rejected","manually_stopped"]})"
         R"(,"finalPlayerCount":)" MAYBE_COUNT);

constexpr char kGameStatus[] =
    OBJECT(ROOM_NAMES R"(,"appTag","maxPlayers","playerCount","players","lobbyState","gameState","gameStarted",)"
                      R"("gameFinished","monitoring")",
           ROOM R"(,"appTag":)" MAYBE_TEXT R"(,"maxPlayers":)" MAYBE_COUNT R"(,"playerCount":)" MAYBE_COUNT
                R"(,"players":)" TEXTS R"(,"lobbyState":)" MAYBE_TEXT R"(,"gameState":)" MAYBE_TEXT
                R"(,"gameStarted":)" BOOLEAN R"(,"gameFinished":)" BOOLEAN R"(,"monitoring":)" BOOLEAN);

constexpr char kConnection[] = OBJECT(
    R"("socketId","connectedAt","user")",
    SOCKET R"(,"connectedAt":)" COUNT R"(,"user":)" OBJECT(
        R"("id","name","role")", R"("id":)" TEXT R"(,"name":)" TEXT R"(,"role":{"enum":["viewer","bot","admin"]})"));

constexpr char kDisconnection[] =
    OBJECT(R"("socketId","code","reason")", SOCKET R"(,"code":)" COUNT R"(,"reason":)" TEXT);

constexpr char kSubscribe[] =
    OBJECT(R"("socketId","channel","channelData")", SOCKET R"(,"channel":)" TEXT R"(,"channelData":)" ANY);

constexpr char kUnsubscribe[] = OBJECT(R"("socketId","channel")", SOCKET R"(,"channel":)" TEXT);

constexpr char kBroadcast[] =
    OBJECT(R"("channel","event","data")", R"("channel":)" TEXT R"(,"event":)" TEXT R"(,"data":)" ANY);

constexpr char kPresence[] =
    OBJECT(R"("channel","id","info")", R"("channel":)" TEXT R"(,"id":)" TEXT R"(,"info":)" ANY);

constexpr char kClientEvent[] = OBJECT(R"("socketId","channel","event","data")",
                                       SOCKET R"(,"channel":)" TEXT R"(,"event":)" TEXT R"(,"data":)" ANY);

constexpr char kWebhookDisabled[] =
    OBJECT(R"("webhook")", R"("webhook":)" OBJECT(R"("id","name","url","enabled","disabled_reason")",
                                                  R"("id":)" ID R"(,"name":)" TEXT R"(,"url":)" TEXT
                                                  R"(,"enabled":{"const":false},"disabled_reason":)" TEXT));

constexpr EventType kCatalogue[] = {
    {"game.added", "A game is played in a session.", kGameAdded,
     R"({"session":{"id":5,"is_active":true,"games_played":3},"game":{"id":31,"title":"Quiplash 3",)"
     R"("pack_name":"Jackbox Party Pack 7","min_players":3,"max_players":8,"manually_added":false,)"
     R"("room_code":"LSBN"}})"},
    {"session.started", "A session was opened.", kSessionStarted,
     R"({"session":{"id":5,"is_active":1,"created_at":"2026-03-15T20:00:00.000Z","notes":null}})"},
    {"session.ended", "A session was closed.", kSessionEnded, R"({"session":{"id":5,"is_active":0,"games_played":4}})"},
    {"player-count.updated", "The number of players of a session's game was set.", kPlayerCount,
     R"({"sessionId":5,"gameId":802,"playerCount":6,"status":"completed"})"},
    {"vote.received", "A live vote was counted.", kVote,
     R"({"sessionId":5,"game":{"id":31,"title":"Quiplash 3","pack_name":"Jackbox Party Pack 7"},)"
     R"("vote":{"username":"ann","type":"up","timestamp":"2026-03-15T20:31:00.000Z"},)"
     R"("totals":{"upvotes":12,"downvotes":2,"popularity_score":10}})"},
    {"game.status-changed", "The status of a session's game was set.", kStatusChanged,
     R"({"sessionId":5,"gameId":802,"status":"skipped"})"},
    {"game.removed", "A game was taken out of its session.", OBJECT(SESSION_GAME_NAMES, SESSION_GAME),
     R"({"sessionId":5,"gameId":802})"},
    {"voting.ended", "A poll ended, with what led it; null when nothing did.", kVotingEnded,
     R"({"sessionId":5,"winnerGameId":31,"winnerLabel":"Quiplash 3","winnerVotes":12})"},
    {"room.connected", "The room monitor is in the game's room.", kRoomConnected,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","appTag":"quiplash3","maxPlayers":8,"playerCount":1,)"
     R"("players":["ANN"],"lobbyState":"WaitingForMore","gameState":"Lobby"})"},
    {"lobby.player-joined", "A player joined the game's room.", kPlayerJoined,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","playerName":"BOB","playerCount":2,"players":["ANN","BOB"],)"
     R"("maxPlayers":8})"},
    {"lobby.updated", "The lobby of the game's room changed.", kLobbyUpdated,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","lobbyState":"CanStart","gameCanStart":true,)"
     R"("gameIsStarting":false,"playerCount":3})"},
    {"game.started", "The game in the room started.", kGameStarted,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","playerCount":3,"players":["ANN","BOB","CAT"],"maxPlayers":8})"},
    {"game.ended", "The game in the room ended.", kGameEnded,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","playerCount":3,"players":["ANN","BOB","CAT"]})"},
    {"room.disconnected", "The room monitor left the room, or never got in.", kRoomDisconnected,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","reason":"room_closed","finalPlayerCount":3})"},
    {"game.status", "What the room monitor sees, every 20 s.", kGameStatus,
     R"({"sessionId":5,"gameId":802,"roomCode":"LSBN","appTag":"quiplash3","maxPlayers":8,"playerCount":3,)"
     R"("players":["ANN","BOB","CAT"],"lobbyState":"CanStart","gameState":"Gameplay","gameStarted":true,)"
     R"("gameFinished":false,"monitoring":true})"},
    {"connection", "A client has connected to the WebSocket and authenticated; connectedAt is epoch milliseconds.",
     kConnection,
     R"({"socketId":"7d0c1f0a-94a8-4b52-8f3a-6b6b8f1c2d3e","connectedAt":1773606600000,)"
     R"("user":{"id":"obs overlay","name":"obs overlay","role":"viewer"}})"},
    {"disconnection", "A client of the WebSocket is gone; code and reason are those of the close frame.",
     kDisconnection, R"({"socketId":"7d0c1f0a-94a8-4b52-8f3a-6b6b8f1c2d3e","code":1000,"reason":""})"},
    {"subscribe", "A client subscribed to a channel; channelData is what it told of itself, or null.", kSubscribe,
     R"({"socketId":"7d0c1f0a-94a8-4b52-8f3a-6b6b8f1c2d3e","channel":"presence-team","channelData":{"color":"red"}})"},
    {"unsubscribe", "A client left a channel.", kUnsubscribe,
     R"({"socketId":"7d0c1f0a-94a8-4b52-8f3a-6b6b8f1c2d3e","channel":"presence-team"})"},
    {"broadcast", "POST /api/broadcast sent an event to a channel.", kBroadcast,
     R"({"channel":"orders","event":"OrderCreated","data":{"id":7}})"},
    {"presence_join", "A user's first connection is in a presence channel.", kPresence,
     R"({"channel":"presence-team","id":"ann","info":{"color":"red"}})"},
    {"presence_leave", "A user's last connection left a presence channel.", kPresence,
     R"({"channel":"presence-team","id":"ann","info":{"color":"red"}})"},
    {"client_event", "A client sent an event to the other members of a channel.", kClientEvent,
     R"({"socketId":"7d0c1f0a-94a8-4b52-8f3a-6b6b8f1c2d3e","channel":"private-chat","event":"client-typing",)"
     R"("data":{"on":true}})"},
    {"webhook.disabled", "The server disabled a webhook: it failed for too long, or its endpoint answered 410.",
     kWebhookDisabled,
     R"({"webhook":{"id":5,"name":"mine","url":"https://example.org/hook","enabled":false,)"
     R"("disabled_reason":"Every delivery failed for 5 days"}})"},
};

}  // namespace

std::span<const EventType> event_catalogue() {
  return kCatalogue;
}

bool is_event_type(std::string_view name) {
  return std::ranges::any_of(kCatalogue, [&](const EventType& type) { return name == type.name; });
}

}  // namespace gamepicker
