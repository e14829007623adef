"""Apache Beam: the count that spans machines, and the stream to BigQuery.

They run in an environment of their own, `.venv-pipelines`, and in one image on Dataflow. Nothing outside this
package imports Beam. They know `shared/` alone, and count with what the trigger counts with.
"""
