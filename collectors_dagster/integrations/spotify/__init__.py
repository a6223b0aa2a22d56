"""The Spotify Web API: who may ask (oauth), and asking."""
